import { createInflateRaw } from 'node:zlib'
import type { Metadata } from '../../schemas/images.ts'
import { bytesOf } from '../headers/bytes.ts'
import { locateItems } from '../headers/heif-items.ts'
import { readBoxes } from '../headers/isobmff.ts'
import { EOI, SOF2, SOI, SOS } from '../headers/jpeg-segments.ts'
import { openTiff } from '../headers/tiff.ts'
import { open } from './libvips.ts'

// For a larger picture, comparing two decodings would take too much memory and time.
const MAX_COMPARED_PIXELS = 2 ** 25

/**
 * The share of a damaged picture that is present, from 0 to 1; undefined if it cannot be determined. It is the share of
 * its first frame or page.
 */
export async function presentShare(file: Buffer, metadata: Metadata): Promise<number | undefined> {
  const share = await shareOf[metadata.format]?.(file, metadata).catch(() => undefined)
  return share === undefined ? undefined : Math.min(1, Math.max(0, Math.round(share * 1000) / 1000))
}

const shareOf: Record<string, (file: Buffer, metadata: Metadata) => Promise<number | undefined>> = {
  JPEG: shareOfJpeg,
  PNG: shareOfPng,
  GIF: shareOfGif,
  TIFF: shareOfTiff,
  HEIC: shareOfHeif,
  HEIF: shareOfHeif,
  AVIF: shareOfHeif,
  WebP: async (file, metadata) =>
    file.length < 8 + file.readUInt32LE(4)
      ? shareByFilling(metadata, (fill) => pad(file, file.readUInt32LE(4) + 8, fill))
      : undefined,
}

/** A file as long as it declares, with the missing bytes replaced. */
export const pad = (file: Buffer, size: number, fill: number) =>
  Buffer.concat([file, Buffer.alloc(Math.max(0, Math.min(size - file.length, MAX_FILL)), fill)])

const MAX_FILL = 2 ** 26

/** A baseline JPEG that is cut off. In a progressive one each scan improves the whole picture. */
async function shareOfJpeg(file: Buffer, metadata: Metadata) {
  const isCutOff = file.lastIndexOf(Buffer.of(0xff, EOI)) < file.lastIndexOf(Buffer.of(0xff, SOS))
  if (!isCutOff || isProgressive(file)) return undefined
  const end = Buffer.of(0xff, EOI)
  return shareByFilling(metadata, (fill) => Buffer.concat([file, Buffer.alloc(1024, fill), end]))
}

function isProgressive(file: Buffer) {
  for (let at = 2; at + 4 <= file.length && file[at] === 0xff; at += 2 + file.readUInt16BE(at + 2)) {
    const marker = file[at + 1]!
    if (marker === SOF2) return true
    if (marker === SOS || marker === SOI) return false
  }
  return false
}

/**
 * Decodes a file twice, with different bytes instead of the missing ones. The rows before the first difference are
 * present.
 */
async function shareByFilling({ width = 0, height = 0 }: Metadata, filled: (fill: number) => Buffer) {
  if (width * height > MAX_COMPARED_PIXELS) return undefined
  const [one, other] = await Promise.all(
    [0x00, 0x55].map((fill) => open(filled(fill), 'lenient').greyscale().raw({ depth: 'uchar' }).toBuffer()),
  )
  const channels = Math.max(1, Math.floor(one!.length / (width * height)))
  const row = width * channels
  for (let y = 0; y < height; y++)
    if (one!.compare(other!, y * row, (y + 1) * row, y * row, (y + 1) * row) !== 0) return y / height
  return 1
}

// Samples per pixel by IHDR's colour type.
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

/** The share of the pixels' data that can be unpacked. */
async function shareOfPng(file: Buffer) {
  const [width, height, depth, type] = [file.readUInt32BE(16), file.readUInt32BE(20), file[24]!, file[25]!]
  const packed: Buffer[] = []
  for (let at = 8; at + 8 <= file.length; ) {
    const length = file.readUInt32BE(at)
    if (file.toString('latin1', at + 4, at + 8) === 'IDAT')
      packed.push(file.subarray(at + 8, at + 8 + length))
    at += 12 + length
  }
  const row = Math.ceil((width * depth * (SAMPLES[type] ?? 1)) / 8) + 1
  return (await unpackedLength(Buffer.concat(packed), row * height)) / (row * height)
}

/** The number of bytes that deflated data contain up to their end or their first error, not more than `max`. */
async function unpackedLength(packed: Buffer, max: number) {
  // Without the header and the checksum of zlib (RFC 1950): both can be wrong.
  const inflate = createInflateRaw({ chunkSize: 1024 })
  let length = 0
  inflate.end(packed.subarray(2))
  try {
    for await (const chunk of inflate) {
      length += (chunk as Buffer).length
      if (length >= max) break
    }
  } catch {
    // The data end here.
  }
  inflate.destroy()
  return length
}

const IMAGE = 0x2c
const EXTENSION = 0x21

/** The share of the first frame's pixels that its codes stand for (GIF89a §22, appendix F). */
async function shareOfGif(file: Buffer) {
  const tableBytes = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0)
  let at = 13 + tableBytes(file[10]!)
  while (file[at] === EXTENSION) at = skipBlocks(file, at + 2)
  if (file[at] !== IMAGE) return 0
  const pixels = file.readUInt16LE(at + 5) * file.readUInt16LE(at + 7)
  at += 10 + tableBytes(file[at + 9]!)
  const minimumSize = file[at]!
  const codes: Buffer[] = []
  const end = skipBlocks(file, at + 1, codes)
  return end > 0 ? countPixels(Buffer.concat(codes), minimumSize, pixels) / pixels : undefined
}

/** The position behind a series of data blocks. */
function skipBlocks(file: Buffer, start: number, blocks?: Buffer[]) {
  let at = start
  for (let size = file[at]; size; size = file[at]) {
    blocks?.push(file.subarray(at + 1, at + 1 + size))
    at += 1 + size
  }
  return at + 1
}

const MAX_CODE_BITS = 12

/** The number of pixels that LZW codes stand for, up to `max`. Only the lengths of the table's entries are needed. */
function countPixels(codes: Buffer, minimumSize: number, max: number) {
  const clear = 2 ** minimumSize
  let lengths: number[] = []
  let last = 0
  let pixels = 0
  let at = 0
  let size = minimumSize + 1
  while (at + size <= codes.length * 8 && pixels < max) {
    let code = 0
    for (let bit = 0; bit < size; bit++, at++) code |= ((codes[at >> 3]! >> (at & 7)) & 1) << bit
    if (code === clear) {
      lengths = []
      last = 0
      size = minimumSize + 1
      continue
    }
    if (code === clear + 1) break
    const next = clear + 2 + lengths.length
    const length = code < clear ? 1 : code === next ? last + 1 : lengths[code - clear - 2]
    if (length === undefined || (code === next && last === 0)) break
    if (last > 0 && next < 2 ** MAX_CODE_BITS) lengths.push(last + 1)
    if (next + 1 >= 2 ** size && size < MAX_CODE_BITS && last > 0) size++
    last = length
    pixels += length
  }
  return pixels
}

/** The share of the first page's strips or tiles that are in the file. */
async function shareOfTiff(file: Buffer) {
  const tiff = await openTiff(bytesOf(file))
  const page = await tiff?.directory(tiff.first)
  if (!page) return undefined
  const [offsetTag, countTag] = page.has(324) ? [324, 325] : [273, 279]
  const offsets = await page.numbers(offsetTag, 65_536)
  const counts = await page.numbers(countTag, 65_536)
  const sum = counts.reduce((total, count) => total + count, 0)
  if (sum === 0) return undefined
  const present = offsets.reduce(
    (total, offset, i) => total + Math.max(0, Math.min(counts[i] ?? 0, file.length - offset)),
    0,
  )
  return present / sum
}

const MAX_TABLE_BYTES = 2 ** 20

/** The share of the items' bytes that are in the file: pictures, tiles and thumbnails. */
async function shareOfHeif(file: Buffer) {
  const boxes = readBoxes(bytesOf(file))
  const meta = await boxes.find(undefined, 'meta')
  const iloc = meta && (await boxes.find({ start: meta.start + 4, end: meta.end }, 'iloc'))
  if (!iloc) return undefined
  const ranges = [...locateItems(await boxes.content(iloc, MAX_TABLE_BYTES), undefined).values()].flat()
  let [present, sum] = [0, 0]
  for (const { start, end } of ranges) {
    sum += end - start
    present += Math.max(0, Math.min(end, file.length) - start)
  }
  return sum > 0 ? present / sum : undefined
}
