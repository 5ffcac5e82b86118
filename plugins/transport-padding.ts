const CRLF = Buffer.from('\r\n')
const [CR, SPACE, TAB] = Buffer.from('\r \t')
const NOTHING = Buffer.alloc(0)

/**
 * Makes a function that removes the transport padding of a multipart body: blanks between a boundary and the end of its
 * line (RFC 2046 §5.1.1). The function gets a chunk of the body and returns the bytes to parse. It may hold back the end
 * of a chunk, which may be the beginning of a boundary. Bytes held back at the end of the body are no complete boundary.
 */
export function createPaddingFilter(boundary: string): (chunk: Buffer) => Buffer {
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  // The first boundary may be at the very start of the body. The parser ignores this line break.
  let held: Buffer = CRLF
  let isAfterDelimiter = false

  return (chunk) => {
    let rest: Buffer = held.length > 0 ? Buffer.concat([held, chunk]) : chunk
    held = NOTHING
    const kept: Buffer[] = []
    for (;;) {
      if (isAfterDelimiter) {
        rest = withoutLeadingBlanks(rest)
        if (rest.length === 0) break
        isAfterDelimiter = false
      }
      const at = rest.indexOf(delimiter)
      if (at < 0) break
      const end = at + delimiter.length
      kept.push(rest.subarray(0, end))
      rest = rest.subarray(end)
      isAfterDelimiter = true
    }
    const start = startOfPartialDelimiter(rest, delimiter)
    held = rest.subarray(start)
    kept.push(rest.subarray(0, start))
    return kept.length === 1 ? kept[0]! : Buffer.concat(kept)
  }
}

function withoutLeadingBlanks(bytes: Buffer) {
  let start = 0
  while (bytes[start] === SPACE || bytes[start] === TAB) start++
  return bytes.subarray(start)
}

/** The position at which the beginning of a delimiter ends the bytes; their length if there is none. */
function startOfPartialDelimiter(bytes: Buffer, delimiter: Buffer) {
  let at = bytes.indexOf(CR!, Math.max(0, bytes.length - delimiter.length + 1))
  while (at >= 0) {
    if (delimiter.compare(bytes, at, bytes.length, 0, bytes.length - at) === 0) return at
    at = bytes.indexOf(CR!, at + 1)
  }
  return bytes.length
}
