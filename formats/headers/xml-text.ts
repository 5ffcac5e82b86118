/**
 * The text of an XML document. Its first bytes name its encoding (XML 1.0 appendix F), or else its declaration does. A
 * declaration of UTF-16 in a document of single bytes is wrong, and is ignored.
 */
export function decodeXml(bytes: Buffer): string {
  return new TextDecoder(encodingByBytes(bytes) ?? declaredEncoding(bytes) ?? 'utf-8').decode(bytes)
}

function encodingByBytes([first, second, third]: Buffer) {
  if ((first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c)) return 'utf-16be'
  if ((first === 0xff && second === 0xfe) || (first === 0x3c && second === 0)) return 'utf-16le'
  return first === 0xef && second === 0xbb && third === 0xbf ? 'utf-8' : undefined
}

const DECLARATION_BYTES = 200

function declaredEncoding(bytes: Buffer) {
  const declaration = bytes.toString('latin1', 0, DECLARATION_BYTES)
  const [, label] = /^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]{1,40})["']/.exec(declaration) ?? []
  if (!label || /^utf-?16/i.test(label)) return undefined
  try {
    return new TextDecoder(label).encoding
  } catch {
    return undefined // an encoding that is not in the WHATWG's Encoding Standard
  }
}
