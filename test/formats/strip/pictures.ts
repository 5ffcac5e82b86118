import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { crc32 } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import { type Open, planWithoutMetadata, readPlan } from '../../../formats/strip/index.ts'
import type { ByteRange } from '../../../schemas/byte-range.ts'

/** Stands in each piece of metadata, often enough that no part of it can be left unseen. */
export const SECRET = 'SECRETPLACE'
export const secrets = (count: number) => Buffer.from(SECRET.repeat(count))

export interface Picture {
  mediaType: string
  bytes: Buffer
}

/** Opens bytes as an object store does, in chunks of `chunkBytes`. */
export const opener =
  (bytes: Buffer, chunkBytes = 65_536): Open =>
  async ({ start, end }: ByteRange = { start: 0, end: bytes.length - 1 }) =>
    Readable.from(chunksOf(bytes.subarray(start, end + 1), chunkBytes), { objectMode: false })

function* chunksOf(bytes: Buffer, chunkBytes: number) {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes)
}

export async function strip({ mediaType, bytes }: Picture, chunkBytes?: number): Promise<Buffer> {
  const open = opener(bytes, chunkBytes)
  return buffer(await readPlan(await planWithoutMetadata(mediaType, open), open))
}

/** The pixels of all frames as they are stored, neither turned nor converted. */
export const pixels = (bytes: Buffer) => sharp(bytes, { animated: true }).raw().toBuffer()

const WIDTH = 96
const HEIGHT = 64
// Slopes with some noise on them, so that each coder has something to do.
const rgb = Buffer.from(
  Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => (i / 97 + (i % 3) * 60 + ((i * 7919) % 31)) & 255),
)
export const picture = () => sharp(rgb, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } })

/** A picture of each kind, with the profile of Display P3 where the format can have one. */
export async function makePictures(): Promise<Record<string, Picture>> {
  const p3 = () => picture().withIccProfile('p3')
  const transparent = () => picture().ensureAlpha(0.5).withIccProfile('p3')
  const frames = [await picture().png().toBuffer(), await picture().negate().png().toBuffer()]
  const film = sharp(frames, { join: { animated: true } }).withIccProfile('p3')
  const png = await p3().png().toBuffer()
  const of = async (mediaType: string, source: Sharp) => ({ mediaType, bytes: await source.toBuffer() })
  return {
    'baseline JPEG': await of('image/jpeg', p3().jpeg()),
    'progressive JPEG': await of('image/jpeg', p3().jpeg({ progressive: true })),
    'grey JPEG': await of('image/jpeg', picture().toColourspace('b-w').jpeg()),
    'CMYK JPEG': await of('image/jpeg', picture().toColourspace('cmyk').jpeg()),
    PNG: { mediaType: 'image/png', bytes: png },
    'PNG with a palette': await of('image/png', transparent().png({ palette: true })),
    'interlaced PNG': await of('image/png', transparent().png({ progressive: true })),
    APNG: { mediaType: 'image/apng', bytes: animatePng(png) },
    'lossy WebP': await of('image/webp', p3().webp()),
    'lossless WebP': await of('image/webp', p3().webp({ lossless: true })),
    'simple WebP': await of('image/webp', picture().webp()),
    'WebP with alpha': await of('image/webp', transparent().webp()),
    'animated WebP': await of('image/webp', film.webp({ loop: 0, delay: [100, 200] })),
  }
}

export interface Part {
  name: string
  /** All of its bytes, header included. */
  bytes: Buffer
}

/** The segments of a JPEG up to its first scan, then the rest as one part. */
export function splitJpeg(jpeg: Buffer): Part[] {
  const parts = [{ name: 'd8', bytes: jpeg.subarray(0, 2) }]
  let at = 2
  while (jpeg[at + 1] !== 0xda) {
    const end = at + 2 + jpeg.readUInt16BE(at + 2)
    parts.push({ name: jpeg[at + 1]!.toString(16), bytes: jpeg.subarray(at, end) })
    at = end
  }
  return [...parts, { name: 'rest', bytes: jpeg.subarray(at) }]
}

export function segment(marker: number, contents: Uint8Array | string): Buffer {
  const bytes = Buffer.from(contents)
  const header = Buffer.of(0xff, marker, 0, 0)
  header.writeUInt16BE(bytes.length + 2, 2)
  return Buffer.concat([header, bytes])
}

export function splitPng(png: Buffer): Part[] {
  const parts = []
  for (let at = 8; at < png.length; ) {
    const end = at + 12 + png.readUInt32BE(at)
    parts.push({ name: png.toString('latin1', at + 4, at + 8), bytes: png.subarray(at, end) })
    at = end
  }
  return parts
}

export const joinPng = (chunks: Buffer[]) =>
  Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...chunks])

export function pngChunk(type: string, contents: Uint8Array): Buffer {
  const chunk = Buffer.concat([
    Buffer.alloc(4),
    Buffer.from(type, 'latin1'),
    Buffer.from(contents),
    Buffer.alloc(4),
  ])
  chunk.writeUInt32BE(contents.length)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4)
  return chunk
}

export function splitWebp(webp: Buffer, from = 12): Part[] {
  const parts = []
  for (let at = from; at < webp.length; ) {
    const size = webp.readUInt32LE(at + 4)
    const end = at + 8 + size + (size % 2)
    parts.push({ name: webp.toString('latin1', at, at + 4), bytes: webp.subarray(at, end) })
    at = end
  }
  return parts
}

export function joinWebp(chunks: Buffer[]): Buffer {
  const contents = Buffer.concat([Buffer.from('WEBP', 'latin1'), ...chunks])
  return webpChunk('RIFF', contents)
}

export function webpChunk(fourCC: string, contents: Uint8Array): Buffer {
  const chunk = Buffer.concat([
    Buffer.from(fourCC, 'latin1'),
    Buffer.alloc(4),
    contents,
    Buffer.alloc(contents.length % 2),
  ])
  chunk.writeUInt32LE(contents.length, 4)
  return chunk
}

/** Makes an APNG of two frames, both of them the picture. */
function animatePng(png: Buffer): Buffer {
  const control = (sequence: number) => {
    const contents = Buffer.alloc(26)
    contents.writeUInt32BE(sequence)
    contents.writeUInt32BE(WIDTH, 4)
    contents.writeUInt32BE(HEIGHT, 8)
    contents.writeUInt16BE(1, 20) // a tenth of a second
    contents.writeUInt16BE(10, 22)
    return pngChunk('fcTL', contents)
  }
  const parts = splitPng(png)
  const data = Buffer.concat(
    parts.filter(({ name }) => name === 'IDAT').map(({ bytes }) => bytes.subarray(8, -4)),
  )
  const head = parts.slice(
    0,
    parts.findIndex(({ name }) => name === 'IDAT'),
  )
  return joinPng([
    ...head.map(({ bytes }) => bytes),
    pngChunk('acTL', Buffer.from('0000000200000000', 'hex')),
    control(0),
    pngChunk('IDAT', data),
    control(1),
    pngChunk('fdAT', Buffer.concat([Buffer.from('00000002', 'hex'), data])),
    pngChunk('IEND', Buffer.alloc(0)),
  ])
}

/** An Exif structure with an orientation and secrets: in a text and, where no reader looks, behind all. */
export function exif(orientation: number, count = 40): Buffer {
  const text = secrets(count)
  const tiff = Buffer.alloc(8 + 2 + 2 * 12 + 4)
  tiff.write('MM\0*\0\0\0\x08\0\x02', 'latin1')
  tiff.writeUInt16BE(0x010f, 10) // Make
  tiff.writeUInt16BE(2, 12)
  tiff.writeUInt32BE(text.length, 14)
  tiff.writeUInt32BE(tiff.length, 18)
  tiff.writeUInt16BE(0x0112, 22) // Orientation
  tiff.writeUInt16BE(3, 24)
  tiff.writeUInt32BE(1, 26)
  tiff.writeUInt16BE(orientation, 30)
  return Buffer.concat([tiff, text])
}

/** Puts metadata of every kind into a picture, with the orientation 6. */
export function addMetadata({ mediaType, bytes }: Picture): Buffer {
  if (mediaType === 'image/jpeg') return addToJpeg(bytes)
  return mediaType === 'image/webp' ? addToWebp(bytes) : addToPng(bytes)
}

const XMP = Buffer.from(`<x:xmpmeta xmlns:x="adobe:ns:meta/">${SECRET.repeat(40)}</x:xmpmeta>`)

function addToJpeg(jpeg: Buffer) {
  const parts = splitJpeg(jpeg)
  const named = (name: string) => Buffer.concat([Buffer.from(name, 'latin1'), secrets(40)])
  const everyApp = Array.from({ length: 16 }, (_, n) => segment(0xe0 + n, named('MAKER\0')))
  const jfifWithThumbnail = segment(
    0xe0,
    Buffer.concat([Buffer.from('JFIF\0\x01\x02\0\0\x01\0\x01\x02\x0b', 'latin1'), secrets(6)]),
  )
  return Buffer.concat([
    jpeg.subarray(0, 2),
    jfifWithThumbnail,
    segment(0xe0, named('JFXX\0\x10')),
    segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif(6)])),
    segment(0xe1, Buffer.concat([Buffer.from('http://ns.adobe.com/xap/1.0/\0', 'latin1'), XMP])),
    segment(0xe1, named('http://ns.adobe.com/xmp/extension/\0')),
    segment(0xe2, named('MPF\0')),
    segment(0xe2, named('urn:iso:std:iso:ts:21496:-1\0')),
    segment(0xed, named('Photoshop 3.0\x008BIM\x04\x04')),
    ...everyApp,
    segment(0xfe, secrets(40)),
    ...parts.slice(1, -1).map(({ bytes }) => bytes),
    segment(0xfe, secrets(40)),
    parts.at(-1)!.bytes,
    jpeg, // a preview, a film and an archive behind the end
    Buffer.from('\0\0\0\x18ftypmp42', 'latin1'),
    secrets(40),
    Buffer.from('PK\x03\x04', 'latin1'),
  ])
}

function addToPng(png: Buffer) {
  const parts = splitPng(png)
  const keyed = (key: string) => Buffer.concat([Buffer.from(key, 'latin1'), secrets(40)])
  const firstData = parts.findIndex(({ name }) => name === 'IDAT')
  return Buffer.concat([
    joinPng([
      parts[0]!.bytes,
      pngChunk('eXIf', exif(6)),
      pngChunk('tEXt', keyed('Comment\0')),
      ...parts.slice(1, firstData).map(({ bytes }) => bytes),
      pngChunk('zTXt', keyed('Raw profile type exif\0\0')),
      pngChunk('prVt', secrets(40)),
      pngChunk('sPLT', keyed('palette\0\x08')),
      ...parts.slice(firstData, -1).map(({ bytes }) => bytes),
      pngChunk('iTXt', Buffer.concat([Buffer.from('XML:com.adobe.xmp\0\0\0\0\0', 'latin1'), XMP])),
      pngChunk('tIME', Buffer.from('07ea0b01000000', 'hex')),
      pngChunk('eXIf', exif(3)),
      parts.at(-1)!.bytes,
    ]),
    secrets(40),
  ])
}

function addToWebp(webp: Buffer) {
  const parts = splitWebp(webp)
  const extended = parts[0]!.name === 'VP8X' ? parts.shift()!.bytes : plainVp8x()
  const vp8x = Buffer.from(extended)
  vp8x[8]! |= 0x0c // Exif and XMP
  const chunks = parts.map(({ name, bytes }) =>
    name === 'ANMF'
      ? webpChunk('ANMF', Buffer.concat([bytes.subarray(8), webpChunk('MINE', secrets(40))]))
      : bytes,
  )
  return Buffer.concat([
    joinWebp([
      vp8x,
      webpChunk('MINE', secrets(41)),
      ...chunks,
      webpChunk('EXIF', Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif(6)])),
      webpChunk('XMP ', XMP),
      webpChunk('EXIF', exif(3)),
    ]),
    secrets(40),
  ])
}

function plainVp8x() {
  const contents = Buffer.alloc(10)
  contents.writeUIntLE(WIDTH - 1, 4, 3)
  contents.writeUIntLE(HEIGHT - 1, 7, 3)
  return webpChunk('VP8X', contents)
}

/** A generator of whole numbers below a limit, the same for the same seed (mulberry32). */
export function seeded(seed: number) {
  let state = seed
  return (limit: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }
}
