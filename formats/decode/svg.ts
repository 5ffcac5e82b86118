import { findRoot, sizeOf } from '../headers/svg.ts'
import { decodeXml } from '../headers/xml-text.ts'

const HEAD_LENGTH = 65_536

/**
 * An SVG as librsvg accepts it: in UTF-8 without a declaration of another encoding, and with the size that browsers give
 * it. librsvg draws neither a picture without a size nor one in windows-1251.
 */
export function normalizeSvg(bytes: Buffer): Buffer {
  const text = decodeXml(bytes).replace(/^\uFEFF?\s*<\?xml[^>]*\?>/, '')
  const root = findRoot(text.slice(0, HEAD_LENGTH))
  if (!root) return Buffer.from(text)
  const { width, height } = sizeOf(root.attributes)
  // A document around the root element, because attributes of its own would have to be replaced.
  const around = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">`
  return Buffer.from(`${text.slice(0, root.position)}${around}${text.slice(root.position)}</svg>`)
}
