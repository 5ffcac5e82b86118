const TEXT_LENGTH = 200

/**
 * Cleans the text of a tag: it ends at the first NUL, and has no control characters, no blanks around it and not more
 * than 200 characters. Undefined if nothing is left.
 */
export function cleanText(value: Buffer | string): string | undefined {
  const [beforeNul = ''] = (typeof value === 'string' ? value : decode(value)).split('\0', 1)
  const clean = repair(beforeNul)
    .replace(/\p{C}+/gu, ' ')
    .trim()
  return (clean.length > TEXT_LENGTH ? cut(clean) : clean) || undefined
}

const cut = (text: string) => [...text].slice(0, TEXT_LENGTH).join('').trim()

// Exif's text is ASCII, and UTF-8 in its third edition (CIPA DC-008-2023). Older writers used windows-1252. Text that is
// valid UTF-8 is hardly ever anything else.
function decode(bytes: Buffer) {
  const nul = bytes.indexOf(0)
  const text = nul < 0 ? bytes : bytes.subarray(0, nul)
  return fromUtf8(text) ?? western.decode(text)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })
const western = new TextDecoder('windows-1252')

function fromUtf8(bytes: Uint8Array) {
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * Corrects UTF-8 that was read as windows-1252 and written again (`Ã©` for `é`). This is safe: real text has no letters
 * that happen to form valid UTF-8.
 */
function repair(text: string) {
  if (!/[\u0080-\u{10ffff}]/u.test(text)) return text
  const bytes = [...text].map((letter) => windows1252.get(letter))
  if (bytes.includes(undefined)) return text
  return fromUtf8(Uint8Array.from(bytes as number[])) ?? text
}

const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte)
const windows1252 = new Map([...western.decode(everyByte)].map((letter, byte) => [letter, byte]))
