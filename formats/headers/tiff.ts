import { type Bytes, part } from './bytes.ts'

/** A TIFF file or block: directories of tags, reached by their offsets. */
export interface Tiff {
  /** The offset of the first directory. */
  readonly first: number
  /** The directory at an offset, as far as it is there; undefined where there is none. */
  directory(offset: number): Promise<Directory | undefined>
}

/** An image file directory (IFD): tags and their values. What can't be read of a value is not there. */
export interface Directory {
  /** The offset of the directory after this one, 0 after the last. */
  readonly next: number
  /** How many entries were read. */
  readonly size: number
  /** Whether those are all that it says to have. */
  readonly complete: boolean
  has(tag: number): boolean
  /** A tag's numbers, not more than `most`; fractions are divided, and one over zero is NaN or infinite. */
  numbers(tag: number, most?: number): Promise<number[]>
  /** A tag's bytes as they are, not more than `most`. */
  bytes(tag: number, most: number): Promise<Buffer>
}

// TIFF 6.0 §2, BigTIFF, and the marks by which Olympus and Panasonic set their raw files apart.
const CLASSIC = new Set([42, 0x4f52, 0x5352, 0x55])
const BIG = 43

// A directory has some tens of entries. More than these in one, or in all of them, are made to keep a reader busy.
const MOST_ENTRIES = 4096
const MOST_ENTRIES_IN_ALL = 2 ** 18
const HEADER_SEARCH_BYTES = 32

/** Opens what begins with a TIFF header. */
export async function openTiff(bytes: Bytes): Promise<Tiff | undefined> {
  const header = await bytes.read(0, 16)
  const order = header.toString('latin1', 0, 2)
  if (header.length < 8 || (order !== 'II' && order !== 'MM')) return undefined
  const little = order === 'II'
  const magic = little ? header.readUInt16LE(2) : header.readUInt16BE(2)
  if (magic === BIG ? header.length < 16 : !CLASSIC.has(magic)) return undefined
  const layout = magic === BIG ? { little, ...bigLayout } : { little, ...classicLayout }
  let left = MOST_ENTRIES_IN_ALL
  return {
    first: unsigned(header, layout.little, layout.offsetBytes, layout.offsetBytes),
    async directory(offset) {
      const found = await readDirectory(bytes, layout, offset, Math.min(left, MOST_ENTRIES))
      left -= found?.size ?? 0
      return found
    },
  }
}

/** Opens an Exif block, which may have bytes before its TIFF header: `Exif\0\0`, or the offset that HEIF writes. */
export async function openExif(bytes: Bytes) {
  const head = (await bytes.read(0, HEADER_SEARCH_BYTES)).toString('latin1')
  const at = head.search(/II\*\0|MM\0\*/)
  return at < 0 ? undefined : openTiff(part(bytes, at))
}

const classicLayout = { countBytes: 2, offsetBytes: 4, entryBytes: 12 }
const bigLayout = { countBytes: 8, offsetBytes: 8, entryBytes: 20 }
type Layout = typeof classicLayout & { little: boolean }

interface Entry {
  type: number
  count: number
  /** Where the value begins. */
  at: number
}

async function readDirectory(
  bytes: Bytes,
  layout: Layout,
  offset: number,
  most: number,
): Promise<Directory | undefined> {
  const { little, countBytes, offsetBytes, entryBytes } = layout
  if (offset < 8 || !Number.isSafeInteger(offset)) return undefined
  const counter = await bytes.read(offset, countBytes)
  if (counter.length < countBytes) return undefined
  const declared = unsigned(counter, little, 0, countBytes)
  const start = offset + countBytes
  const table = await bytes.read(start, Math.min(declared, most) * entryBytes)
  const length = Math.floor(table.length / entryBytes)
  if (length === 0) return undefined

  const entries = new Map<number, Entry>()
  for (let i = 0; i < length; i++) {
    const base = i * entryBytes
    const type = unsigned(table, little, base + 2, 2)
    const count = unsigned(table, little, base + 4, offsetBytes)
    const slot = base + 4 + offsetBytes
    const inline = count * (SIZES[type] ?? 0) <= offsetBytes
    const tag = unsigned(table, little, base, 2)
    if (type in SIZES && !entries.has(tag))
      entries.set(tag, {
        type,
        count,
        at: inline ? start + slot : unsigned(table, little, slot, offsetBytes),
      })
  }
  const complete = length === declared
  const tail = complete ? await bytes.read(start + length * entryBytes, offsetBytes) : Buffer.alloc(0)

  return {
    next: tail.length === offsetBytes ? unsigned(tail, little, 0, offsetBytes) : 0,
    size: length,
    complete,
    has: (tag) => entries.has(tag),
    async numbers(tag, most = 1) {
      const entry = entries.get(tag)
      if (!entry) return []
      const size = SIZES[entry.type]!
      const value = await bytes.read(entry.at, Math.min(entry.count, most) * size)
      return Array.from({ length: Math.floor(value.length / size) }, (_, i) =>
        number(value, little, entry.type, i * size),
      )
    },
    async bytes(tag, most) {
      const entry = entries.get(tag)
      if (!entry) return Buffer.alloc(0)
      return bytes.read(entry.at, Math.min(entry.count * SIZES[entry.type]!, most))
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
