import type { Bytes } from './bytes.ts'

/** A part of a file. */
export interface Range {
  start: number
  end: number
}

/**
 * A box of the ISO base media file format (ISO/IEC 14496-12 §4.2). HEIF, AVIF, JPEG 2000, JPEG XL and CR3 consist of
 * boxes. The range is that of its content.
 */
export interface Box extends Range {
  /** Four letters, or `uuid:` and the hexadecimal id of a user-defined type. */
  type: string
}

/** Reads the boxes of one file. It stops after `MAX_BOXES` in all, so no file can occupy it for long. */
export interface BoxReader {
  /** The boxes in a range, which is the whole file if it is absent. A box that is cut off ends with the range. */
  boxes(within?: Range): AsyncGenerator<Box>
  /** The first box at the end of a path of types. */
  find(within: Range | undefined, ...path: string[]): Promise<Box | undefined>
  /** The content of a box, not more than `max` bytes. */
  content(box: Range, max: number): Promise<Buffer>
}

// A picture has some tens of boxes.
const MAX_BOXES = 2000

export function readBoxes(bytes: Bytes): BoxReader {
  let left = MAX_BOXES
  async function* boxes({ start, end }: Range = { start: 0, end: bytes.size }): AsyncGenerator<Box> {
    for (let at = start; at + 8 <= end && left > 0; ) {
      left--
      const box = await boxAt(bytes, at, end)
      if (!box) return
      yield box.box
      at = box.next
    }
  }
  async function find(within: Range | undefined, ...[type, ...rest]: string[]): Promise<Box | undefined> {
    for await (const box of boxes(within)) {
      if (box.type !== type) continue
      return rest.length === 0 ? box : find(box, ...rest)
    }
    return undefined
  }
  return {
    boxes,
    find,
    content: ({ start, end }, max) => bytes.read(start, Math.max(0, Math.min(end - start, max))),
  }
}

async function boxAt(bytes: Bytes, at: number, end: number) {
  const header = await bytes.read(at, 32)
  if (header.length < 8) return undefined
  let size = header.readUInt32BE(0)
  let content = at + 8
  if (size === 1 && header.length >= 16) {
    size = Number(header.readBigUInt64BE(8))
    content += 8
  } else if (size === 0) size = end - at
  if (size < content - at) return undefined
  const next = at + size
  let type = header.toString('latin1', 4, 8)
  if (type === 'uuid') {
    type = `uuid:${header.toString('hex', content - at, content - at + 16)}`
    content += 16
  }
  return { box: { type, start: content, end: Math.min(next, end) }, next }
}
