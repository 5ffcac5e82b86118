import { brotliDecompressSync } from 'node:zlib'
import { part } from './bytes.ts'
import { colourSpaceOf } from './colour.ts'
import { openBlock } from './exif.ts'
import { type Header, type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'
import { readBoxes } from './isobmff.ts'

const CODESTREAM_BYTES = 1024

/** JPEG XL (ISO/IEC 18181), a bare codestream or boxes. The libraries in use read only its size. */
export const readJxl: HeaderReader = async ({ bytes }) => {
  const start = await bytes.read(0, CODESTREAM_BYTES)
  if (start[0] === 0xff) return readCodestream(start)

  let header: Header | undefined
  const tags: Pick<Header, 'exif' | 'xmp'> = {}
  for await (const box of readBoxes(bytes).boxes()) {
    const block = part(bytes, box.start, box.end)
    // A compressed box (ISO/IEC 18181-2 §9.8) begins with its own type.
    const packed = box.type === 'brob'
    const type = packed ? (await block.read(0, 4)).toString('latin1') : box.type
    const tagBytes = async () =>
      packed ? unpack(await block.read(4, MAX_BLOCK_BYTES)) : block.read(0, MAX_BLOCK_BYTES)
    if (type === 'jxlc') header ??= readCodestream(await block.read(0, CODESTREAM_BYTES))
    // A part of the codestream, behind its number.
    if (type === 'jxlp') header ??= readCodestream(await block.read(4, CODESTREAM_BYTES))
    if (type === 'Exif') tags.exif ??= await openBlock(await tagBytes(), { container: 'other' })
    if (type === 'xml ') tags.xmp ??= await tagBytes()
  }
  return header && { ...header, ...tags }
}

function unpack(packed: Buffer) {
  try {
    return brotliDecompressSync(packed, { maxOutputLength: MAX_BLOCK_BYTES })
  } catch {
    return Buffer.alloc(0)
  }
}

/** The image header (ISO/IEC 18181-1 annex D): the size, and the fields up to the colours. */
function readCodestream(codestream: Buffer): Header | undefined {
  if (codestream[0] !== 0xff || codestream[1] !== 0x0a) return undefined
  const bits = bitReader(codestream.subarray(2))
  const { width, height } = readSize(bits)
  if (bits.exhausted()) return undefined
  const rest = readImageMetadata(bits)
  return { width, height, ...(bits.exhausted() ? { orientation: undefined } : rest) }
}

type Bits = ReturnType<typeof bitReader>

/** Reads bits, from the lowest of each byte on. After the end it reads zeros. */
function bitReader(bytes: Buffer) {
  let at = 0
  const u = (count: number) => {
    let value = 0
    for (let i = 0; i < count; i++, at++) value += (((bytes[at >> 3] ?? 0) >> (at & 7)) & 1) * 2 ** i
    return value
  }
  return {
    u,
    bool: () => u(1) === 1,
    /** One of four choices: a number, or a number of bits to read with a number to add. */
    u32: (...choices: (number | [bits: number, add?: number])[]) => {
      const choice = choices[u(2)]!
      return typeof choice === 'number' ? choice : u(choice[0]) + (choice[1] ?? 0)
    },
    exhausted: () => at > bytes.length * 8,
  }
}

// The ratios of width to height that are coded in three bits.
const RATIOS: [number, number][] = [
  [1, 1],
  [12, 10],
  [4, 3],
  [3, 2],
  [16, 9],
  [5, 4],
  [2, 1],
]

function readSize({ u, bool, u32 }: Bits) {
  const small = bool()
  const side = () => (small ? (u(5) + 1) * 8 : u32([9, 1], [13, 1], [18, 1], [30, 1]))
  return readSides(side, u)
}

function readSides(side: () => number, u: Bits['u']) {
  const height = side()
  const ratio = RATIOS[u(3) - 1]
  return { height, width: ratio ? Math.floor((height * ratio[0]) / ratio[1]) : side() }
}

function readImageMetadata(bits: Bits) {
  const { u, bool, u32 } = bits
  const defaults = { orientation: undefined, bitDepth: 8, hasAlpha: false, colourSpace: 'sRGB' }
  if (bool()) return defaults
  let orientation: number | undefined
  if (bool()) {
    orientation = u(3) + 1
    if (bool()) readSize(bits)
    if (bool()) readPreviewSize(bits)
    if (bool()) {
      u32(100, 1000, [10, 1], [30, 1])
      u32(1, 1001, [8, 1], [10, 1])
      u32(0, [3], [16], [32])
      bool()
    }
  }
  const bitDepth = readBitDepth(bits)
  bool()
  const channels = u32(0, 1, [4, 2], [12, 1])
  let hasAlpha = false
  for (let channel = 0; channel < channels && !bits.exhausted(); channel++)
    hasAlpha = readExtraChannel(bits) === ALPHA || hasAlpha
  bool()
  return { orientation, bitDepth, hasAlpha, colourSpace: readColours(bits) }
}

function readPreviewSize({ u, bool, u32 }: Bits) {
  const eighths = bool()
  readSides(
    () => (eighths ? u32(16, 32, [5, 1], [9, 33]) * 8 : u32([6, 1], [8, 65], [10, 321], [12, 1345])),
    u,
  )
}

function readBitDepth({ u, bool, u32 }: Bits) {
  if (!bool()) return u32(8, 10, 12, [6, 1])
  const bits = u32(32, 16, 24, [6, 1])
  u(4)
  return bits
}

const ALPHA = 0
const SPOT_COLOUR = 2
const COLOUR_FILTER = 5

const readEnum = ({ u32 }: Bits) => u32(0, 1, [4, 2], [6, 18])

function readExtraChannel(bits: Bits) {
  const { u, bool, u32 } = bits
  if (bool()) return ALPHA
  const type = readEnum(bits)
  readBitDepth(bits)
  u32(0, 3, 4, [3, 1])
  u(8 * u32(0, [4], [5, 16], [10, 48]))
  if (type === ALPHA) bool()
  if (type === SPOT_COLOUR) u(64)
  if (type === COLOUR_FILTER) u32(1, [2], [4, 3], [8, 19])
  return type
}

const CUSTOM = 2
const GREY = 1
const RGB = 0
const D65 = 1
const P3 = 11

/** The name of the colour space; undefined for a profile, which is compressed, and for custom colours. */
function readColours(bits: Bits) {
  const { u, bool } = bits
  if (bool()) return 'sRGB'
  const profile = bool()
  const space = readEnum(bits)
  if (space === GREY) return 'grey'
  if (profile || space !== RGB) return undefined
  const white = readEnum(bits)
  const primaries = white === CUSTOM ? CUSTOM : readEnum(bits)
  if (white !== D65 || primaries === CUSTOM) return undefined
  const gamma = bool()
  const transfer = gamma ? u(24) : readEnum(bits)
  return gamma ? undefined : colourSpaceOf(primaries === P3 ? 12 : primaries, transfer)
}
