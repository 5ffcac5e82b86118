import { sizeOf } from './bitmap.ts'
import type { HeaderReader } from './header.ts'

// XML's prolog (XML 1.0 §2.8): declaration and processing instructions, comments, document type; then the root element.
// No two of its parts can match at one place, so that it takes time in proportion to the text, whatever that is.
const COMMENT = /<!--(?:(?!-->)[\s\S])*-->/.source
const SUBSET = `\\[(?:${COMMENT}|"[^"]*"|'[^']*'|[^\\]"'<]|<(?!!--))*\\]`
const PROLOG = `\\uFEFF?\\s*(?:(?:<\\?(?:(?!\\?>)[\\s\\S])*\\?>|${COMMENT}|<!DOCTYPE\\s+(?:[\\w.-]+:)?svg[^>[]*(?:${SUBSET}\\s*)?>)\\s*)*`
const START = new RegExp(`^${PROLOG}<(?:[\\w.-]+:)?svg(?=[\\s/>])`)
const ROOT = /(?:[^>"']|"[^"]*"|'[^']*')*>/y

/** Whether a text begins like an SVG document: its root element is `svg`. */
export const beginsLikeSvg = (head: Buffer) => START.test(decodeXml(head))

/** XML tells its encoding by its first bytes (XML 1.0 appendix F). */
function decodeXml(head: Buffer) {
  const [first, second] = head
  const encoding =
    (first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c)
      ? 'utf-16be'
      : (first === 0xff && second === 0xfe) || (first === 0x3c && second === 0)
        ? 'utf-16le'
        : 'utf-8'
  return new TextDecoder(encoding).decode(head)
}

const HEAD_BYTES = 65_536

/**
 * SVG (SVG 2 §8): the size that its root element asks for, in CSS pixels; none where it has none. image-size reads the
 * attributes. A drawing program's library would have to draw it to tell more, and can be kept busy by that.
 */
export const readSvg: HeaderReader = async ({ bytes }) => {
  const text = decodeXml(await bytes.read(0, HEAD_BYTES))
  const start = START.exec(text)
  if (!start) return undefined
  ROOT.lastIndex = start[0].length
  const root = ROOT.exec(text)
  if (!root) return undefined
  const attributes = [...root[0].matchAll(/\s(width|height|viewBox)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)]
    .map(([, name, value = '', other = value]) => `${name}="${other.replace(/[\s,]+/g, ' ').trim()}"`)
    .join(' ')
  return sizeOf(Buffer.from(`<svg ${attributes}>`)) ?? {}
}
