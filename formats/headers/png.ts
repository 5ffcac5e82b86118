import { crc32, inflateSync } from 'node:zlib'
import type { Bytes } from './bytes.ts'
import { openBlock } from './exif.ts'
import { type Header, type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'

// A film has a few chunks for each frame. A file with more chunks is described by the first ones.
const MAX_CHUNKS = 100_000

/** PNG and APNG (W3C PNG, third edition). */
export const readPng: HeaderReader = async ({ bytes }) => {
  const reading: Reading = { bytes, header: {}, keywords: new Set(), isAnimated: false, hadExif: false }
  let at = 8
  for (let count = 0; count < MAX_CHUNKS; count++) {
    const head = await bytes.read(at, 8)
    if (head.length < 8) break
    const chunk = { type: head.toString('latin1', 4), start: at + 8, length: head.readUInt32BE(0) }
    if (chunk.type === 'IEND') break
    await readChunk(reading, chunk)
    at += 12 + chunk.length
  }
  const { header, isAnimated } = reading
  return header.width ? { ...header, mediaType: isAnimated ? 'image/apng' : 'image/png' } : undefined
}

interface Reading {
  bytes: Bytes
  header: Header
  /** The keywords of the text chunks that were read. */
  keywords: Set<string>
  isAnimated: boolean
  hadExif: boolean
  hadPixels?: boolean
}

interface Chunk {
  type: string
  /** Where the data begins. */
  start: number
  length: number
}

async function readChunk(reading: Reading, chunk: Chunk) {
  const { bytes, header } = reading
  const data = (max = MAX_BLOCK_BYTES) => bytes.read(chunk.start, Math.min(chunk.length, max))
  switch (chunk.type) {
    case 'IHDR':
      if (chunk.length === 13) Object.assign(header, imageHeader(await data()))
      break
    case 'IDAT':
      reading.hadPixels = true
      break
    case 'tRNS':
      if (!reading.hadPixels) header.hasAlpha = true
      break
    case 'iCCP':
      header.icc ??= profileOf(await data())
      break
    case 'acTL': {
      if (reading.hadPixels) break
      const control = await data()
      reading.isAnimated = true
      if (control.length >= 8) header.frames = control.readUInt32BE(0)
      break
    }
    case 'fcTL': {
      const control = await data(26)
      if (control.length === 26) header.duration = (header.duration ?? 0) + delay(control)
      break
    }
    case 'eXIf':
      await readExifChunk(reading, chunk, await data())
      break
    case 'tEXt':
    case 'zTXt':
    case 'iTXt':
      await readText(chunk.type, await data(), reading)
  }
}

// IHDR's colour types (§11.2.1) are sums of these.
const COLOUR = 2
const ALPHA = 4

function imageHeader(data: Buffer): Header {
  if (data.length < 13) return {}
  const type = data[9]!
  return {
    width: data.readUInt32BE(0),
    height: data.readUInt32BE(4),
    bitDepth: data[8],
    colourSpace: (type & COLOUR) === 0 ? 'grey' : 'sRGB',
    hasAlpha: (type & ALPHA) !== 0,
  }
}

/** Milliseconds; a denominator of 0 means 100 (§11.3.6.2). */
const delay = (control: Buffer) => (control.readUInt16BE(20) * 1000) / (control.readUInt16BE(22) || 100)

/** A name, the method of compression, and the profile. */
function profileOf(data: Buffer) {
  const end = data.indexOf(0)
  return end < 0 ? undefined : inflate(data.subarray(end + 2))
}

/** Browsers use the first chunk whose CRC is correct. Tags are read from any chunk. */
async function readExifChunk(reading: Reading, { type, start, length }: Chunk, data: Buffer) {
  const crc = await reading.bytes.read(start + length, 4)
  const isIntact = crc.length === 4 && crc.readUInt32BE(0) === crc32(data, crc32(type))
  const isFirst = isIntact && !reading.hadExif
  reading.hadExif ||= isIntact
  reading.header.exif ??= await openBlock(data, {
    container: 'PNG',
    isFirstAndBeforePixels: isFirst && !reading.hadPixels,
  })
}

/**
 * Text chunks (§11.3.3) that hold a block of tags: XMP, and the hexadecimal text of ImageMagick. Each is read once, so
 * that a file full of them is not unpacked again and again.
 */
async function readText(type: string, data: Buffer, { header, keywords }: Reading) {
  const end = data.indexOf(0)
  const keyword = data.toString('latin1', 0, end)
  if (
    end < 0 ||
    keywords.has(keyword) ||
    !/^(XML:com\.adobe\.xmp|Raw profile type (exif|APP1|xmp))$/.test(keyword)
  )
    return
  keywords.add(keyword)
  const text = textOf(type, data.subarray(end + 1))
  if (!keyword.startsWith('Raw')) header.xmp ??= text
  else if (keyword.endsWith('xmp')) header.xmp ??= hexadecimal(text)
  else header.exif ??= await openBlock(hexadecimal(text), { container: 'PNG' })
}

/** A line break, a name, the length, and lines of hexadecimal. */
const hexadecimal = (text: Buffer) =>
  Buffer.from(
    text
      .toString('latin1')
      .replace(/^\s*\S+\s+\d+\s+/, '')
      .replace(/\s+/g, ''),
    'hex',
  )

function textOf(type: string, data: Buffer) {
  if (type === 'tEXt') return data
  if (type === 'zTXt') return inflate(data.subarray(1))
  // iTXt: whether and how it is compressed, a language, the keyword in this language, and the text.
  const [isCompressed] = data
  const language = data.indexOf(0, 2)
  const translated = data.indexOf(0, language + 1)
  const text = data.subarray(translated + 1)
  return isCompressed === 1 ? inflate(text) : text
}

function inflate(data: Buffer) {
  try {
    return inflateSync(data, { maxOutputLength: MAX_BLOCK_BYTES })
  } catch {
    return Buffer.alloc(0)
  }
}
