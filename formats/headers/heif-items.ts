import type { Bytes } from './bytes.ts'
import { MAX_BLOCK_BYTES } from './header.ts'
import type { BoxReader, Range } from './isobmff.ts'

const MAX_TABLE_BYTES = 2 ** 20
const MAX_EXTENTS = 16

/** The blocks of tags in a HEIF file, which are items of their own (ISO/IEC 23008-12 annex A). */
export async function readTagItems(bytes: Bytes, boxes: BoxReader, meta: Range) {
  const table = async (type: string) => {
    const box = await boxes.find(meta, type)
    return box ? boxes.content(box, MAX_TABLE_BYTES) : Buffer.alloc(0)
  }
  const { exif, xmp } = tagItems(await table('iinf'))
  if (exif === undefined && xmp === undefined) return {}
  const items = locateItems(await table('iloc'), await boxes.find(meta, 'idat'))
  const read = async (id: number | undefined) =>
    id === undefined ? undefined : readExtents(bytes, items.get(id) ?? [])
  return { exif: await read(exif), xmp: await read(xmp) }
}

/** The ids of the first items with Exif and with XMP (ItemInfoBox, ISO/IEC 14496-12 §8.11.6). */
function tagItems(table: Buffer) {
  const found: { exif?: number; xmp?: number } = {}
  if (table.length < 6) return found
  for (let at = table[0] === 0 ? 6 : 8; at + 20 <= table.length; ) {
    const size = table.readUInt32BE(at)
    const version = table[at + 8]
    if (size < 8) break
    const wide = version === 3
    if (version === 2 || wide) {
      const id = wide ? table.readUInt32BE(at + 12) : table.readUInt16BE(at + 12)
      const type = table.toString('latin1', at + (wide ? 18 : 16), at + (wide ? 22 : 20))
      if (type === 'Exif') found.exif ??= id
      if (type === 'mime' && table.subarray(at, at + size).includes('application/rdf+xml')) found.xmp ??= id
    }
    at += size
  }
  return found
}

/** Reads numbers of 0, 2, 4 or 8 bytes, one after another. */
function numberReader(table: Buffer, start: number) {
  let at = start
  return {
    next(bytes: number) {
      at += bytes
      if (at > table.length || bytes === 0) return 0
      return bytes === 8 ? Number(table.readBigUInt64BE(at - 8)) : table.readUIntBE(at - bytes, bytes)
    },
    isAtEnd: () => at >= table.length,
  }
}

/**
 * Where the bytes of each item are (ItemLocationBox, ISO/IEC 14496-12 §8.11.3). Items in other files or other items have
 * no ranges.
 */
export function locateItems(table: Buffer, idat: Range | undefined): Map<number, Range[]> {
  const items = new Map<number, Range[]>()
  if (table.length < 8) return items
  const version = table[0]!
  const [offsetBytes, lengthBytes] = [table[4]! >> 4, table[4]! & 15]
  const [baseBytes, indexBytes] = [table[5]! >> 4, version === 0 ? 0 : table[5]! & 15]
  if (![offsetBytes, lengthBytes, baseBytes, indexBytes].every((size) => size % 4 === 0 && size <= 8))
    return items
  const { next, isAtEnd } = numberReader(table, 6)
  const idBytes = version < 2 ? 2 : 4
  for (let left = next(idBytes); left > 0 && !isAtEnd(); left--) {
    const id = next(idBytes)
    const method = version === 0 ? 0 : next(2) & 15
    next(2) // the data reference
    const base = next(baseBytes) + (method === 1 && idat ? idat.start : 0)
    const ranges: Range[] = []
    for (let extents = next(2); extents > 0 && !isAtEnd(); extents--) {
      next(indexBytes)
      const start = base + next(offsetBytes)
      const end = start + next(lengthBytes)
      if (ranges.length < MAX_EXTENTS) ranges.push({ start, end })
    }
    if (method === 0 || (method === 1 && idat)) items.set(id, ranges)
  }
  return items
}

async function readExtents(bytes: Bytes, ranges: Range[]) {
  const parts: Buffer[] = []
  let left = MAX_BLOCK_BYTES
  for (const { start, end } of ranges) {
    const part = await bytes.read(start, Math.max(0, Math.min(end - start, left)))
    left -= part.length
    parts.push(part)
  }
  return parts.length === 0 ? undefined : Buffer.concat(parts)
}
