import type { Bytes } from './bytes.ts'

/** A box of the ISO base media file format (ISO/IEC 14496-12 §4.2), by which HEIF, AVIF, JPEG 2000, JPEG XL and CR3 are built. */
export interface Box {
  /** Four letters, or `uuid:` and the hexadecimal id of a user's own type. */
  type: string
  /** Where its content begins and ends. */
  start: number
  end: number
}

// A container has some tens of boxes; a file with more is made to keep a reader busy.
const MOST_BOXES = 2000

/** The boxes between two places of a file. A box that is cut short ends with the file. */
export async function* boxes(bytes: Bytes, start = 0, end = bytes.size): AsyncGenerator<Box> {
  let at = start
  for (let count = 0; count < MOST_BOXES && at + 8 <= end; count++) {
    const header = await bytes.read(at, 32)
    if (header.length < 8) return
    let size = header.readUInt32BE(0)
    let content = at + 8
    if (size === 1 && header.length >= 16) {
      size = Number(header.readBigUInt64BE(8))
      content += 8
    } else if (size === 0) size = end - at
    if (size < content - at) return
    const type = header.toString('latin1', 4, 8)
    const next = at + size
    if (type === 'uuid') {
      const id = header.toString('hex', content - at, content - at + 16)
      yield { type: `uuid:${id}`, start: content + 16, end: Math.min(next, end) }
    } else yield { type, start: content, end: Math.min(next, end) }
    at = next
  }
}

/** The first box at the end of a path, each step of which is a box's type. */
export async function find(
  bytes: Bytes,
  within: Omit<Box, 'type'> | undefined,
  ...path: string[]
): Promise<Box | undefined> {
  const [type, ...rest] = path
  for await (const box of boxes(bytes, within?.start, within?.end)) {
    if (box.type !== type) continue
    return rest.length === 0 ? box : find(bytes, box, ...rest)
  }
  return undefined
}

/** A box's content, not more than `most` bytes. */
export const content = (bytes: Bytes, { start, end }: Box, most: number) =>
  bytes.read(start, Math.max(0, Math.min(end - start, most)))
