import { isUtf8 } from 'node:buffer'
import { decodeExtended, parse } from 'content-disposition'

// A name is cut to 255 characters later. Each may take 12 bytes of percent-encoding.
const MAX_LENGTH = 4096

/** The values in the Content-Disposition of a part or a request. */
export interface Disposition {
  /** In lower case: `form-data`, `attachment`. */
  type: string
  /** The name of the form's field. */
  name: string | undefined
  /** The sender's file name, without folders. */
  fileName: string | undefined
}

/**
 * Reads a Content-Disposition (RFC 7578 §4.2, RFC 6266). It never throws: a value that cannot be read is undefined.
 *
 * @param field the header field, one character for each byte (latin1). Only its first 4096 bytes are read.
 */
export function readDisposition(field: string): Disposition {
  const { type, parameters } = parse(prepareQuotes(field.slice(0, MAX_LENGTH)), { extended: false })
  const { name, filename, 'filename*': extended } = parameters
  return {
    type,
    name: name === undefined ? undefined : decodeName(name),
    fileName: baseName(
      (extended && decodeAnyCharset(extended)) ??
        (filename === undefined ? undefined : decodeWords(decodeName(filename))),
    ),
  }
}

/**
 * Prepares quoted strings for the parser. In the names that clients send, a backslash only escapes a quote or another
 * backslash: browsers send `C:\picture.png` as it is. A header that was cut off at its size limit has an open quote.
 */
function prepareQuotes(field: string) {
  let isOpen = false
  const prepared = field.replace(/\\["\\]?|"/g, (found) => {
    if (found === '"') isOpen = !isOpen
    return found === '\\' ? '\\\\' : found
  })
  return isOpen ? `${prepared}"` : prepared
}

/** Decodes the characters that browsers escape in a quoted name, then the bytes: UTF-8, or else windows-1252 (WHATWG). */
function decodeName(value: string) {
  const bytes = Buffer.from(value.replace(/%(22|0[AD])/gi, fromHex), 'latin1')
  return isUtf8(bytes) ? bytes.toString() : new TextDecoder('windows-1252').decode(bytes)
}

const WORD = /=\?([^?*\s]+)(?:\*[^?\s]*)?\?([BQ])\?([^?]*)\?=/gi

/**
 * Decodes the encoded words of mail libraries (RFC 2047): `=?UTF-8?B?4oKs?=`. RFC 7578 does not have them. Blanks
 * between two words do not belong to the name (§6.2). A word whose character set is unknown stays as it is.
 */
function decodeWords(name: string) {
  return name
    .replace(/(?<=\?=)\s+(?==\?)/g, '')
    .replace(WORD, (word, charset: string, encoding: string, text: string) => {
      const decoder = knownDecoder(charset)
      if (!decoder) return word
      return decoder.decode(encoding.toUpperCase() === 'B' ? Buffer.from(text, 'base64') : bytesOfQ(text))
    })
}

/** The bytes of RFC 2047's "Q" encoding, in which `_` is a blank. */
const bytesOfQ = (text: string) =>
  Buffer.from(text.replaceAll('_', ' ').replace(/=([\da-f]{2})/gi, fromHex), 'latin1')

const fromHex = (_: string, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))

/** Decodes an RFC 8187 value: `UTF-8''%e2%82%ac.png`. The library knows UTF-8 and ISO-8859-1; Node knows many more. */
function decodeAnyCharset(value: string) {
  const [, charset, encoded] = /^([^']*)'[^']*'(.*)$/s.exec(value) ?? []
  if (!charset || encoded === undefined) return undefined
  const decoded = decodeExtended(value)
  if (decoded !== undefined) return decoded
  const bytes = Buffer.from(encoded.replace(/%([\da-f]{2})/gi, fromHex), 'latin1')
  return (knownDecoder(charset) ?? new TextDecoder()).decode(bytes)
}

function knownDecoder(charset: string) {
  try {
    return new TextDecoder(charset)
  } catch {
    return undefined
  }
}

/** Some clients send a whole path: `folder/picture.png`, or `C:\folder\picture.png` on Windows. */
function baseName(name: string | undefined) {
  if (name === undefined) return undefined
  const isWindowsPath = /^([a-z]:\\|\\\\)/i.test(name)
  const start = isWindowsPath
    ? Math.max(name.lastIndexOf('/'), name.lastIndexOf('\\'))
    : name.lastIndexOf('/')
  const base = name.slice(start + 1)
  return base === '.' || base === '..' ? undefined : base
}
