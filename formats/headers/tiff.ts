import { type Bytes, part } from './bytes.ts'

/** A TIFF file or block: directories of tags at offsets. */
export interface Tiff {
  /** The offset of the first directory. */
  readonly first: number
  /** The directory at an offset, as far as the file has it; undefined if there is none. */
  directory(offset: number): Promise<Directory | undefined>
}

/** An entry of a directory: a tag with its value. */
export interface Entry {
  type: number
  /** The number of values. */
  count: number
  /** The offset of the values. */
  at: number
}

/** An image file directory (IFD, TIFF 6.0 §2). A value that cannot be read is absent. */
export interface Directory {
  /** The offset of the next directory, 0 after the last. */
  readonly next: number
  /** The number of entries that were read. */
  readonly size: number
  /** Whether all entries were read that the directory declares. */
  readonly complete: boolean
  has(tag: number): boolean
  /** The type of a tag's value; undefined if the directory does not have the tag. */
  type(tag: number): number | undefined
  /** All entries of a tag, in the directory's order. The other methods use the first. */
  entriesOf(tag: number): readonly Entry[]
  /** The numbers of an entry, not more than `max`. Fractions are divided: one over zero is NaN or infinite. */
  valuesOf(entry: Entry, max: number): Promise<number[]>
  /** The numbers of a tag, not more than `max`. */
  numbers(tag: number, max?: number): Promise<number[]>
  /** The bytes of a tag, not more than `max`. */
  bytes(tag: number, max: number): Promise<Buffer>
}

// TIFF 6.0 §2, BigTIFF, and the magic numbers of the raw files of Olympus and Panasonic.
const CLASSIC = new Set([42, 0x4f52, 0x5352, 0x55])
const BIG = 43

// A directory has some tens of entries. A file with more entries was made to occupy a reader.
const MAX_ENTRIES = 4096
const MAX_ENTRIES_IN_ALL = 2 ** 18
// Entries of one tag that are remembered.
const MAX_REPETITIONS = 16
const HEADER_SEARCH_BYTES = 32

/** Opens a file or block that begins with a TIFF header; undefined if it does not. */
export async function openTiff(bytes: Bytes): Promise<Tiff | undefined> {
  const header = await bytes.read(0, 16)
  const order = header.toString('latin1', 0, 2)
  if (header.length < 8 || (order !== 'II' && order !== 'MM')) return undefined
  const little = order === 'II'
  const magic = little ? header.readUInt16LE(2) : header.readUInt16BE(2)
  if (magic === BIG ? header.length < 16 : !CLASSIC.has(magic)) return undefined
  const layout = magic === BIG ? { little, ...bigLayout } : { little, ...classicLayout }
  let left = MAX_ENTRIES_IN_ALL
  return {
    first: unsigned(header, layout.little, layout.offsetBytes, layout.offsetBytes),
    async directory(offset) {
      const found = await readDirectory(bytes, layout, offset, Math.min(left, MAX_ENTRIES))
      left -= found?.size ?? 0
      return found
    },
  }
}

/**
 * Opens an Exif block. Bytes may precede its TIFF header: `Exif\0\0`, or the offset that HEIF writes.
 *
 * @returns the block and the number of these bytes; undefined if the block has no TIFF header
 */
export async function openExif(bytes: Bytes): Promise<{ tiff: Tiff; tiffAt: number } | undefined> {
  const head = (await bytes.read(0, HEADER_SEARCH_BYTES)).toString('latin1')
  const tiffAt = head.search(/II\*\0|MM\0\*/)
  const tiff = tiffAt < 0 ? undefined : await openTiff(part(bytes, tiffAt))
  return tiff && { tiff, tiffAt }
}

const classicLayout = { countBytes: 2, offsetBytes: 4, entryBytes: 12 }
const bigLayout = { countBytes: 8, offsetBytes: 8, entryBytes: 20 }
type Layout = typeof classicLayout & { little: boolean }

async function readDirectory(
  bytes: Bytes,
  layout: Layout,
  offset: number,
  max: number,
): Promise<Directory | undefined> {
  const { little, countBytes, offsetBytes, entryBytes } = layout
  if (offset < 8 || !Number.isSafeInteger(offset)) return undefined
  const counter = await bytes.read(offset, countBytes)
  if (counter.length < countBytes) return undefined
  const declared = unsigned(counter, little, 0, countBytes)
  const start = offset + countBytes
  const table = await bytes.read(start, Math.min(declared, max) * entryBytes)
  const length = Math.floor(table.length / entryBytes)
  if (length === 0) return undefined
  const complete = length === declared
  const tail = complete ? await bytes.read(start + length * entryBytes, offsetBytes) : Buffer.alloc(0)
  const next = tail.length === offsetBytes ? unsigned(tail, little, 0, offsetBytes) : 0
  return createDirectory(bytes, little, parseEntries(table, layout, start), { next, size: length, complete })
}

/** @param start the offset of the table in the file */
function parseEntries(table: Buffer, { little, offsetBytes, entryBytes }: Layout, start: number) {
  const entries = new Map<number, Entry[]>()
  for (let base = 0; base + entryBytes <= table.length; base += entryBytes) {
    const type = unsigned(table, little, base + 2, 2)
    const size = SIZES[type]
    if (!size) continue
    const count = unsigned(table, little, base + 4, offsetBytes)
    const slot = base + 4 + offsetBytes
    const isInline = count * size <= offsetBytes
    const at = isInline ? start + slot : unsigned(table, little, slot, offsetBytes)
    const tag = unsigned(table, little, base, 2)
    const repeated = entries.get(tag)
    if (!repeated) entries.set(tag, [{ type, count, at }])
    else if (repeated.length < MAX_REPETITIONS) repeated.push({ type, count, at })
  }
  return entries
}

function createDirectory(
  bytes: Bytes,
  little: boolean,
  entries: ReadonlyMap<number, Entry[]>,
  extent: Pick<Directory, 'next' | 'size' | 'complete'>,
): Directory {
  const first = (tag: number) => entries.get(tag)?.[0]
  const valuesOf = async ({ type, count, at }: Entry, max: number) => {
    const size = SIZES[type]!
    const value = await bytes.read(at, Math.min(count, max) * size)
    return Array.from({ length: Math.floor(value.length / size) }, (_, i) =>
      number(value, little, type, i * size),
    )
  }
  return {
    ...extent,
    has: (tag) => entries.has(tag),
    type: (tag) => first(tag)?.type,
    entriesOf: (tag) => entries.get(tag) ?? [],
    valuesOf,
    async numbers(tag, max = 1) {
      const entry = first(tag)
      return entry ? valuesOf(entry, max) : []
    },
    async bytes(tag, max) {
      const entry = first(tag)
      if (!entry) return Buffer.alloc(0)
      return bytes.read(entry.at, Math.min(entry.count * SIZES[entry.type]!, max))
    },
  }
}

// The size in bytes of each type of value (TIFF 6.0 §2; 13 to 18 are of its supplements and BigTIFF).
const SIZES: Record<number, number> = {
  1: 1, // BYTE
  2: 1, // ASCII
  3: 2, // SHORT
  4: 4, // LONG
  5: 8, // RATIONAL
  6: 1, // SBYTE
  7: 1, // UNDEFINED
  8: 2, // SSHORT
  9: 4, // SLONG
  10: 8, // SRATIONAL
  11: 4, // FLOAT
  12: 8, // DOUBLE
  13: 4, // IFD
  16: 8, // LONG8
  17: 8, // SLONG8
  18: 8, // IFD8
  129: 1, // UTF-8 (Exif 3.0)
}

function unsigned(buffer: Buffer, little: boolean, at: number, size: number) {
  if (size === 8) return Number(little ? buffer.readBigUInt64LE(at) : buffer.readBigUInt64BE(at))
  return little ? buffer.readUIntLE(at, size) : buffer.readUIntBE(at, size)
}

function number(buffer: Buffer, little: boolean, type: number, at: number) {
  const view = new DataView(buffer.buffer, buffer.byteOffset + at, SIZES[type])
  switch (type) {
    case 5:
      return view.getUint32(0, little) / view.getUint32(4, little)
    case 6:
      return view.getInt8(0)
    case 8:
      return view.getInt16(0, little)
    case 9:
      return view.getInt32(0, little)
    case 10:
      return view.getInt32(0, little) / view.getInt32(4, little)
    case 11:
      return view.getFloat32(0, little)
    case 12:
      return view.getFloat64(0, little)
    case 17:
      return Number(view.getBigInt64(0, little))
    default:
      return unsigned(buffer, little, at, SIZES[type]!)
  }
}
