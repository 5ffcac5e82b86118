import { damage } from '../decode/undecodable.ts'
import { withBytes } from '../headers/bytes.ts'
import { readPsd } from '../headers/psd.ts'
import { labToRgb } from './lab.ts'
import type { RawPixels } from './tiff-writer.ts'
import { Unrenderable } from './unrenderable.ts'

// The colour modes (Adobe Photoshop File Formats Specification, File Header Section), with their colour channels.
const MODES: Record<number, { name: string; colours: 1 | 3 | 4 }> = {
  0: { name: 'bitmap', colours: 1 },
  1: { name: 'grey', colours: 1 },
  2: { name: 'indexed', colours: 1 },
  3: { name: 'RGB', colours: 3 },
  4: { name: 'CMYK', colours: 4 },
  8: { name: 'duotone', colours: 1 },
  9: { name: 'Lab', colours: 3 },
}
const BITMAP = 0
const INDEXED = 2
const CMYK = 4
const LAB = 9
const RAW = 0
const RLE = 1

interface Composite {
  width: number
  height: number
  /** Bits of a sample. */
  bits: 1 | 8 | 16
  channels: number
  isLarge: boolean
}

/**
 * Decodes the merged picture at the end of a PSD or PSB, which Photoshop writes for programs that do not know layers.
 *
 * @throws {Unrenderable | Undecodable}
 */
export async function decodePsd(file: Buffer, mediaType: string): Promise<RawPixels> {
  const header = await withBytes(file, (bytes) => readPsd({ bytes, source: file, mediaType }))
  if (file.length < 40) throw damage('PSD')
  const mode = file.readUInt16BE(24)
  const bits = file.readUInt16BE(22)
  const { colours } = MODES[mode] ?? {}
  if (!colours || (mode === BITMAP ? bits !== 1 : bits !== 8 && bits !== 16))
    throw new Unrenderable(`There is no decoder for a PSD of mode ${mode} with ${bits} bits.`)
  const composite: Composite = {
    width: file.readUInt32BE(18),
    height: file.readUInt32BE(14),
    bits: bits as Composite['bits'],
    channels: file.readUInt16BE(12),
    isLarge: file.readUInt16BE(4) === 2,
  }
  const { at, hasAlpha, palette } = readSections(file, composite.isLarge)
  const used = colours + (hasAlpha && mode !== CMYK && mode !== LAB && composite.channels > colours ? 1 : 0)
  if (composite.channels < colours) throw damage('PSD')
  const planes = readPlanes(file, at, composite, used)
  const { width, height } = composite
  if (mode === INDEXED) return { data: applyPalette(planes[0]!, palette), width, height, channels: 3 }
  if (mode === LAB) return { data: labToRgb(planes), width, height, channels: 3 }
  const data = interleave(planes, mode === CMYK)
  return {
    data,
    width,
    height,
    channels: used as RawPixels['channels'],
    icc: header?.icc,
    isCmyk: mode === CMYK,
  }
}

/** Where the composite begins, whether its first extra channel is its transparency, and the palette. */
function readSections(file: Buffer, isLarge: boolean) {
  try {
    const paletteBytes = file.readUInt32BE(26)
    const palette = file.subarray(30, 30 + paletteBytes)
    let at = 30 + paletteBytes
    at += 4 + file.readUInt32BE(at)
    const lengthBytes = isLarge ? 8 : 4
    const length = isLarge ? Number(file.readBigUInt64BE(at)) : file.readUInt32BE(at)
    const layers = at + lengthBytes
    // A negative number of layers means that the first extra channel is the transparency of the merged picture.
    const hasAlpha = length > lengthBytes + 2 && file.readInt16BE(layers + lengthBytes) < 0
    return { at: layers + length, hasAlpha, palette }
  } catch {
    throw damage('PSD')
  }
}

/** The first `used` planes, a byte for each sample. Missing samples are 0. */
function readPlanes(file: Buffer, at: number, composite: Composite, used: number): Uint8Array[] {
  if (at + 2 > file.length) throw damage('PSD')
  const compression = file.readUInt16BE(at)
  const { width, height, bits, channels, isLarge } = composite
  const rowBytes = Math.ceil((width * bits) / 8)
  const data = at + 2
  if (compression === RAW)
    return planesOf(used, (n) =>
      high(file.subarray(data + n * rowBytes * height, data + (n + 1) * rowBytes * height), composite),
    )
  if (compression !== RLE)
    throw new Unrenderable(`There is no decoder for a PSD with compression ${compression}.`)
  const countBytes = isLarge ? 4 : 2
  let row = data + channels * height * countBytes
  return planesOf(used, (n) => {
    const plane = new Uint8Array(rowBytes * height)
    for (let y = 0; y < height; y++) {
      const count = data + (n * height + y) * countBytes
      if (count + countBytes > file.length) break
      const length = file.readUIntBE(count, countBytes)
      unpack(file.subarray(row, row + length), plane.subarray(y * rowBytes, (y + 1) * rowBytes))
      row += length
    }
    return high(plane, composite)
  })
}

const planesOf = (count: number, read: (n: number) => Uint8Array) =>
  Array.from({ length: count }, (_, n) => read(n))

/** The high bytes of the samples, filled up to the size of the picture. A single bit is black if it is set. */
function high(plane: Uint8Array, { width, height, bits }: Composite) {
  const bytes = new Uint8Array(width * height)
  if (bits === 8) bytes.set(plane.subarray(0, bytes.length))
  else if (bits === 1) {
    const rowBytes = Math.ceil(width / 8)
    for (let n = 0; n < bytes.length; n++) {
      const x = n % width
      const packed = plane[Math.floor(n / width) * rowBytes + (x >> 3)] ?? 0
      bytes[n] = packed & (0x80 >> (x & 7)) ? 0 : 255
    }
  } else for (let n = 0; n < bytes.length && 2 * n < plane.length; n++) bytes[n] = plane[2 * n]!
  return bytes
}

/** PackBits (TIFF 6.0, section 9). */
function unpack(packed: Uint8Array, to: Uint8Array) {
  for (let from = 0, at = 0; from < packed.length && at < to.length; ) {
    const count = packed[from++]!
    if (count < 128) {
      const literal = packed.subarray(from, from + Math.min(count + 1, to.length - at))
      to.set(literal, at)
      at += count + 1
      from += count + 1
    } else if (count > 128) {
      to.fill(packed[from++] ?? 0, at, Math.min(at + 257 - count, to.length))
      at += 257 - count
    }
  }
}

/** Photoshop stores CMYK with 255 for no ink, TIFF with 0. */
function interleave(planes: Uint8Array[], isInverted: boolean) {
  const channels = planes.length
  const data = new Uint8Array(channels * planes[0]!.length)
  const mask = isInverted ? 0xff : 0
  for (const [channel, plane] of planes.entries())
    for (let n = 0; n < plane.length; n++) data[n * channels + channel] = plane[n]! ^ mask
  return data
}

function applyPalette(indices: Uint8Array, palette: Uint8Array) {
  const data = new Uint8Array(indices.length * 3)
  for (const [n, index] of indices.entries())
    for (let channel = 0; channel < 3; channel++) data[n * 3 + channel] = palette[channel * 256 + index] ?? 0
  return data
}
