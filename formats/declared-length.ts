import type { Metadata } from '../schemas/images.ts'
import { type Bytes, type Source, withBytes } from './headers/bytes.ts'

// Some writers pad a file, or put a few bytes after it.
const SLACK_BYTES = 4096
const MAX_BOXES = 200
const MAX_ROW_TABLE_BYTES = 2 ** 20

/**
 * The length that a file declares. Without a check, any bytes could follow a header of 54 bytes. Only formats whose
 * decoders do not notice this are here.
 */
const lengths: Record<string, (bytes: Bytes) => Promise<number | undefined>> = {
  BMP: lengthOfBmp,
  ICO: lengthOfIco,
  PSD: lengthOfPsd,
  'JPEG 2000': lengthOfBoxes,
  'JPEG XL': lengthOfBoxes,
  CR3: lengthOfBoxes,
}

/**
 * - `fits`: the file has about the length that its header declares: at least half of it, so that a truncated picture is
 *   kept, and at most 4 KiB more.
 * - `short`: it fits, but bytes are missing.
 * - `differs`: it is much shorter or longer.
 * - `unknown`: the header does not declare a length, or it is not checked for this format.
 */
export type LengthCheck = 'fits' | 'short' | 'differs' | 'unknown'

/** Compares the length of a whole file with the one that its header declares. It reads a few KiB. */
export async function compareLength(
  source: Source,
  { format }: Pick<Metadata, 'format'>,
): Promise<LengthCheck> {
  const lengthOf = lengths[format]
  if (!lengthOf) return 'unknown'
  return withBytes(source, async (bytes) => {
    const length = await lengthOf(bytes)
    if (length === undefined) return 'unknown'
    if (bytes.size < length / 2 || bytes.size > length + SLACK_BYTES) return 'differs'
    return bytes.size < length ? 'short' : 'fits'
  })
}

const CORE_HEADER = 12
const UNCOMPRESSED = new Set([0, 3, 6]) // BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS

/** Windows bitmaps ([MS-WMF] §2.2.2.3 ff.) and OS/2's. */
async function lengthOfBmp(bytes: Bytes) {
  const head = await bytes.read(0, 138)
  if (head.length < 26) return undefined
  const dataStart = head.readUInt32LE(10)
  if (head.readUInt32LE(14) === CORE_HEADER)
    return dataStart + bitmapBytes(head.readUInt16LE(18), head.readUInt16LE(20), head.readUInt16LE(24))
  if (head.length < 38) return undefined
  const [width, height] = [Math.abs(head.readInt32LE(18)), Math.abs(head.readInt32LE(22))]
  const pixels = UNCOMPRESSED.has(head.readUInt32LE(30))
    ? bitmapBytes(width, height, head.readUInt16LE(28))
    : head.readUInt32LE(34)
  // BITMAPV5HEADER has a colour profile, which may follow the pixels.
  const hasProfile = head.readUInt32LE(14) === 124 && head.length >= 134
  const profileEnd = hasProfile ? 14 + head.readUInt32LE(126) + head.readUInt32LE(130) : 0
  return Math.max(dataStart + pixels, profileEnd)
}

/** Each row is padded to 4 bytes. */
const bitmapBytes = (width: number, height: number, pixelBits: number) =>
  Math.ceil((width * pixelBits) / 32) * 4 * height

async function lengthOfIco(bytes: Bytes) {
  const count = (await bytes.read(4, 2)).readUInt16LE()
  const directory = await bytes.read(6, count * 16)
  let end = 6 + count * 16
  for (let at = 0; at + 16 <= directory.length; at += 16)
    end = Math.max(end, directory.readUInt32LE(at + 8) + directory.readUInt32LE(at + 12))
  return end
}

/** Adobe Photoshop File Formats Specification: three sections with their lengths, then the picture. */
async function lengthOfPsd(bytes: Bytes) {
  const head = await bytes.read(0, 26)
  if (head.length < 26) return undefined
  const isBig = head.readUInt16BE(4) === 2
  const [channels, height, width, depth] = [
    head.readUInt16BE(12),
    head.readUInt32BE(14),
    head.readUInt32BE(18),
    head.readUInt16BE(22),
  ]
  let at = 26
  for (const size of [4, 4, isBig ? 8 : 4]) {
    const length = await bytes.read(at, size)
    if (length.length < size) return at
    at += size + (size === 8 ? Number(length.readBigUInt64BE()) : length.readUInt32BE())
  }
  const compression = await bytes.read(at, 2)
  if (compression.length < 2) return at
  at += 2
  switch (compression.readUInt16BE()) {
    case 0:
      return at + channels * height * Math.ceil((width * depth) / 8)
    case 1: {
      const size = isBig ? 4 : 2
      const rows = channels * height * size
      if (rows > MAX_ROW_TABLE_BYTES) return undefined
      const table = await bytes.read(at, rows)
      let sum = 0
      for (let row = 0; row + size <= table.length; row += size)
        sum += isBig ? table.readUInt32BE(row) : table.readUInt16BE(row)
      return at + rows + sum
    }
    default:
      return undefined
  }
}

/** The end of the last box (ISO/IEC 14496-12 §4.2); undefined for a bare codestream, or if that box has no length. */
async function lengthOfBoxes(bytes: Bytes) {
  let at = 0
  for (let boxes = 0; at < bytes.size; boxes++) {
    if (boxes === MAX_BOXES) return undefined
    const head = await bytes.read(at, 16)
    if (head.length < 8 || !/^[\x20-\x7e\xa9]{4}$/.test(head.toString('latin1', 4, 8)))
      return at === 0 ? undefined : at
    const short = head.readUInt32BE()
    if (short === 0) return undefined
    const length = short === 1 && head.length === 16 ? Number(head.readBigUInt64BE(8)) : short
    if (length < 8) return at === 0 ? undefined : at
    at += length
  }
  return at
}
