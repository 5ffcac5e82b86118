import { damage } from '../decode/undecodable.ts'
import type { RawPixels } from './tiff-writer.ts'
import { Unrenderable } from './unrenderable.ts'

// Microsoft, BITMAPINFOHEADER and BITMAPV4HEADER: https://learn.microsoft.com/windows/win32/gdi/bitmap-header-types
const FILE_HEADER_BYTES = 14
const CORE_HEADER_BYTES = 12
const RGB = 0
const RLE8 = 1
const RLE4 = 2
const BITFIELDS = 3
const ALPHA_BITFIELDS = 6
const MAX_PIXELS = 2 ** 27
// Some writers pad a picture.
const SLACK_BYTES = 4096

interface Bitmap {
  width: number
  height: number
  isTopDown: boolean
  bits: number
  compression: number
  /** Red, green, blue and alpha in a pixel of 16 or 32 bits. */
  masks: [number, number, number, number]
  palette: Buffer
  /** Bytes of a colour in the palette. */
  colourBytes: 3 | 4
  /** Where the pixels begin. */
  at: number
}

/** Decodes a BMP. @throws {Unrenderable | Undecodable} */
export function decodeBmp(file: Buffer): RawPixels {
  try {
    const bitmap = readHeader(file, FILE_HEADER_BYTES)
    return readPixels(file, { ...bitmap, at: file.readUInt32LE(10) })
  } catch (error) {
    throw error instanceof RangeError ? damage('BMP') : error
  }
}

/** The largest picture of an ICO: a PNG, or pixels. @throws {Unrenderable | Undecodable} */
export function decodeIco(file: Buffer): { png: Buffer } | { pixels: RawPixels } {
  try {
    let best: { area: number; bits: number; at: number; size: number } | undefined
    for (let n = 0; n < file.readUInt16LE(4); n++) {
      const entry = 6 + n * 16
      const area = (file.readUInt8(entry) || 256) * (file.readUInt8(entry + 1) || 256)
      const bits = file.readUInt16LE(entry + 6)
      if (!best || area > best.area || (area === best.area && bits > best.bits))
        best = { area, bits, size: file.readUInt32LE(entry + 8), at: file.readUInt32LE(entry + 12) }
    }
    if (!best) throw damage('ICO')
    const picture = file.subarray(best.at, best.at + best.size)
    if (picture.readUInt32BE(0) === 0x89504e47) return { png: picture }
    return { pixels: decodeIcon(picture) }
  } catch (error) {
    throw error instanceof RangeError ? damage('ICO') : error
  }
}

/** A BMP without file header, with a mask of transparent pixels below it. */
function decodeIcon(picture: Buffer): RawPixels {
  const header = readHeader(picture, 0)
  const bitmap = { ...header, height: Math.floor(header.height / 2) }
  requireLength(picture, bitmap)
  if (bitmap.bits === 32) bitmap.masks = [0xff0000, 0xff00, 0xff, 0xff000000]
  const pixels = readPixels(picture, bitmap)
  const { width, height } = pixels
  const hasAlpha = bitmap.bits === 32 && pixels.data.some((value, n) => n % 4 === 3 && value > 0)
  if (hasAlpha) return pixels
  const maskAt = bitmap.at + rowBytesOf(width, bitmap.bits) * height
  const maskRow = rowBytesOf(width, 1)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const mask = picture[maskAt + (height - 1 - y) * maskRow + (x >> 3)] ?? 0
      pixels.data[(y * width + x) * 4 + 3] = mask & (0x80 >> (x & 7)) ? 0 : 255
    }
  return pixels
}

/** An icon must have at least half of its pixels, and little behind them. @throws {Undecodable} */
function requireLength(picture: Buffer, { at, width, height, bits }: Bitmap) {
  const pixels = rowBytesOf(width, bits) * height
  const end = at + pixels + rowBytesOf(width, 1) * height
  if (picture.length < at + pixels / 2 || picture.length > end + SLACK_BYTES) throw damage('ICO')
}

function readHeader(file: Buffer, at: number): Bitmap {
  const size = file.readUInt32LE(at)
  const isCore = size === CORE_HEADER_BYTES
  const width = isCore ? file.readUInt16LE(at + 4) : file.readInt32LE(at + 4)
  const signedHeight = isCore ? file.readUInt16LE(at + 6) : file.readInt32LE(at + 8)
  const bits = file.readUInt16LE(isCore ? at + 10 : at + 14)
  const compression = isCore ? RGB : file.readUInt32LE(at + 16)
  const height = Math.abs(signedHeight)
  if (width <= 0 || height === 0 || width * height > MAX_PIXELS) throw damage('BMP')
  const hasMasks = compression === BITFIELDS || compression === ALPHA_BITFIELDS
  // The masks are in a V4 header, or follow a shorter one.
  const masks = hasMasks
    ? readMasks(file, at + 40, size >= 56 || compression === ALPHA_BITFIELDS)
    : defaultMasks(bits)
  const colours = bits <= 8 ? (isCore ? 0 : file.readUInt32LE(at + 32)) || 2 ** bits : 0
  const colourBytes = isCore ? 3 : 4
  const paletteAt = at + size + (hasMasks && size === 40 ? (compression === ALPHA_BITFIELDS ? 16 : 12) : 0)
  const paletteEnd = paletteAt + Math.min(colours, 256) * colourBytes
  return {
    width,
    height,
    isTopDown: signedHeight < 0,
    bits,
    compression,
    masks,
    palette: file.subarray(paletteAt, paletteEnd),
    colourBytes,
    at: paletteEnd,
  }
}

function readMasks(file: Buffer, at: number, hasAlpha: boolean): Bitmap['masks'] {
  const mask = (n: number) => file.readUInt32LE(at + 4 * n)
  return [mask(0), mask(1), mask(2), hasAlpha ? mask(3) : 0]
}

const defaultMasks = (bits: number): Bitmap['masks'] =>
  bits === 16 ? [0x7c00, 0x3e0, 0x1f, 0] : [0xff0000, 0xff00, 0xff, 0]

const rowBytesOf = (width: number, bits: number) => Math.ceil((width * bits) / 32) * 4

function readPixels(file: Buffer, bitmap: Bitmap): RawPixels {
  const { width, height, bits, compression } = bitmap
  const data = new Uint8Array(width * height * 4)
  const isRle = compression === RLE8 || compression === RLE4
  if (
    ![RGB, RLE8, RLE4, BITFIELDS, ALPHA_BITFIELDS].includes(compression) ||
    ![1, 2, 4, 8, 16, 24, 32].includes(bits)
  )
    throw new Unrenderable(`There is no decoder for a BMP with ${bits} bits and compression ${compression}.`)
  if (bits <= 8) {
    const indices = isRle ? unpackRle(file, bitmap) : unpackBits(file, bitmap)
    for (const [n, index] of indices.entries()) {
      const colour = index * bitmap.colourBytes
      data[n * 4] = bitmap.palette[colour + 2] ?? 0
      data[n * 4 + 1] = bitmap.palette[colour + 1] ?? 0
      data[n * 4 + 2] = bitmap.palette[colour] ?? 0
      data[n * 4 + 3] = 255
    }
  } else readColours(file, bitmap, data)
  return { data, width, height, channels: 4 }
}

/** Where a row begins. Rows are stored from the bottom, unless the height is negative. */
const rowAt = ({ at, width, height, bits, isTopDown }: Bitmap, y: number) =>
  at + (isTopDown ? y : height - 1 - y) * rowBytesOf(width, bits)

function readColours(file: Buffer, bitmap: Bitmap, data: Uint8Array) {
  const { width, height, bits, masks } = bitmap
  const bytes = bits / 8
  const scales = masks.map((mask) => {
    const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask)
    return { mask, shift, factor: mask === 0 ? 0 : 255 / (mask >>> shift) }
  })
  for (let y = 0; y < height; y++) {
    const row = rowAt(bitmap, y)
    for (let x = 0; x < width; x++) {
      const from = row + x * bytes
      if (from + bytes > file.length) break
      const pixel = file.readUIntLE(from, bytes)
      const to = (y * width + x) * 4
      for (const [channel, { mask, shift, factor }] of scales.entries())
        data[to + channel] =
          mask === 0 && channel === 3 ? 255 : Math.round(((pixel & mask) >>> shift) * factor)
    }
  }
}

function unpackBits(file: Buffer, bitmap: Bitmap): Uint8Array {
  const { width, height, bits } = bitmap
  const indices = new Uint8Array(width * height)
  const mask = 2 ** bits - 1
  for (let y = 0; y < height; y++) {
    const row = rowAt(bitmap, y)
    for (let x = 0; x < width; x++) {
      const bit = x * bits
      indices[y * width + x] = ((file[row + (bit >> 3)] ?? 0) >> (8 - bits - (bit & 7))) & mask
    }
  }
  return indices
}

/** Run lengths of 8 or 4 bits (Microsoft, Bitmap Compression). */
function unpackRle(file: Buffer, { at, width, height, bits }: Bitmap): Uint8Array {
  const indices = new Uint8Array(width * height)
  let [x, y] = [0, 0]
  let outside = 0
  const put = (index: number) => {
    if (x < width && y < height) indices[(height - 1 - y) * width + x] = index
    else outside++
    x++
  }
  const nibble = (byte: number, n: number) => (bits === 8 ? byte : n % 2 === 0 ? byte >> 4 : byte & 15)
  let from = at
  let isEnded = false
  while (from + 1 < file.length && y < height && !isEnded) {
    const [count, value] = [file[from]!, file[from + 1]!]
    from += 2
    if (count > 0) {
      for (let n = 0; n < count; n++) put(nibble(value, n))
    } else if (value === 0) [x, y] = [0, y + 1]
    else if (value === 1) isEnded = true
    else if (value === 2) {
      x += file[from] ?? 0
      y += file[from + 1] ?? 0
      from += 2
    } else {
      for (let n = 0; n < value; n++) put(nibble(file[from + (bits === 8 ? n : n >> 1)] ?? 0, n))
      const bytes = bits === 8 ? value : (value + 1) >> 1
      from += bytes + (bytes & 1)
    }
  }
  // Any bytes are runs. So they must fill a good part of the picture and of the file, and not be longer than the rows.
  const isIncomplete = !isEnded && y < height / 2
  const isOther = file.length > from + SLACK_BYTES + (from - at) || outside > SLACK_BYTES + indices.length
  if (isIncomplete || isOther) throw damage('BMP')
  return indices
}
