import { readFile } from 'node:fs/promises'
import sharp, { type SharpOptions } from 'sharp'
import { rgbaToThumbHash } from 'thumbhash'
import type { Metadata } from '../../schemas/images.ts'
import { type Source, withBytes } from '../headers/bytes.ts'
import { decodeHeif } from './heif.ts'
import { orient, type Pixels, shrink } from './thumbnail.ts'
import { damage, excess, NotDecodable } from './undecodable.ts'

// What is more is not begun: it would take minutes, or all memory.
const MOST_PIXELS = 2 ** 28
const MOST_PIXELS_IN_ALL = 2 ** 29
const MOST_FRAMES = 10_000
const MOST_SVG_BYTES = 2 ** 24

// Frames that nobody looks at are made this small, so that thousands of them fit in memory.
const SMALL_SIDE = 16

/** A whole file: its bytes, or where it is on disk. */
export type WholeFile = Exclude<Source, Buffer[]>

type Decode = (source: WholeFile, metadata: Metadata) => Promise<Pixels>

const decoders: Record<string, Decode> = {
  JPEG: decodeJpeg,
  PNG: decodePng,
  // Of an animation in PNG libvips decodes the first frame.
  APNG: decodeStill,
  GIF: decodeAnimation,
  WebP: decodeAnimation,
  AVIF: async (source, metadata) => {
    if (metadata.duration !== undefined) throw new NotDecodable()
    return sharpen(source)
  },
  HEIC: decodePrimary,
  HEIF: decodePrimary,
  TIFF: decodePages,
  SVG: async (source) => {
    // By its bytes and not by its path, so that it can't draw in other files.
    const svg = await readWhole(source)
    if (svg.length > MOST_SVG_BYTES) throw excess(`it is an SVG of more than ${MOST_SVG_BYTES / 2 ** 20} MiB`)
    return sharpen(svg)
  },
}

/**
 * Decodes all of a picture, within limits that are checked before it begins, and makes its placeholder, a ThumbHash in
 * Base64 of the picture as shown; undefined where no decoder here knows the format, or this kind of it.
 *
 * @param metadata what `readMetadata` says of the file
 * @throws {Undecodable}
 */
export async function decode(source: WholeFile, metadata: Metadata): Promise<string | undefined> {
  const decoder = decoders[metadata.format]
  if (!decoder) return undefined
  checkLimits(metadata)
  try {
    const { width, height, data } = await decoder(source, metadata)
    return Buffer.from(rgbaToThumbHash(width, height, data)).toString('base64')
  } catch (error) {
    if (error instanceof NotDecodable) return undefined
    throw error
  }
}

function checkLimits({ width = 0, height = 0, frames = 1 }: Metadata) {
  const pixels = width * height
  const million = (count: number) => `${Math.floor(count / 1e6)} million`
  if (frames > MOST_FRAMES)
    throw excess(`it has ${frames} frames, and no more than ${MOST_FRAMES} are decoded`)
  if (pixels > MOST_PIXELS)
    throw excess(`it has ${width} x ${height} pixels, and no more than ${million(MOST_PIXELS)} are decoded`)
  if (pixels * frames > MOST_PIXELS_IN_ALL)
    throw excess(
      `its ${frames} frames have ${million(pixels * frames)} pixels, and no more than ${million(MOST_PIXELS_IN_ALL)} are decoded`,
    )
}

async function decodeStill(source: WholeFile, { orientation }: Metadata) {
  return orient(await sharpen(source), orientation)
}

// What an entropy decoder reads ahead at most.
const READ_AHEAD = Buffer.alloc(8)

async function decodeJpeg(source: WholeFile, metadata: Metadata) {
  try {
    return await decodeStill(source, metadata)
  } catch (error) {
    // Some writers leave out the mark of the end, and nothing of the picture: then there is only no more to read ahead.
    const picture = await sharpen(Buffer.concat([await readWhole(source), READ_AHEAD])).catch(() => {
      throw error
    })
    return orient(picture, metadata.orientation)
  }
}

async function decodePng(source: WholeFile, metadata: Metadata) {
  try {
    return await decodeStill(source, metadata)
  } catch (error) {
    // Apple's own kind of PNG has this chunk among its first, and no other decoder knows it.
    const head = await readHead(source, 64)
    throw head.includes('CgBI') ? new NotDecodable() : error
  }
}

const readHead = (source: WholeFile, length: number) => withBytes(source, (bytes) => bytes.read(0, length))

const readWhole = async (source: WholeFile) => (Buffer.isBuffer(source) ? source : readFile(source.path))

/** What sharp takes: a path, or bytes. */
const inputOf = (source: WholeFile) => (Buffer.isBuffer(source) ? source : source.path)

async function decodePrimary(source: WholeFile, { mediaType }: Metadata) {
  if (mediaType.endsWith('-sequence')) throw new NotDecodable()
  return decodeHeif(await readWhole(source))
}

async function decodeAnimation(source: WholeFile, metadata: Metadata) {
  const first = await decodeStill(source, metadata)
  if (metadata.frames !== undefined)
    await sharpen(source, { pages: -1, limitInputPixels: MOST_PIXELS_IN_ALL }, SMALL_SIDE)
  return first
}

async function decodePages(source: WholeFile, metadata: Metadata) {
  const first = await decodeStill(source, metadata)
  if (metadata.frames === undefined) return first
  // With smaller renderings of a page among them, which are no frames.
  const { pages = 1 } = await sharp(inputOf(source), { failOn: 'none', limitInputPixels: false }).metadata()
  if (pages > MOST_FRAMES) throw excess(`it has ${pages} pages, and no more than ${MOST_FRAMES} are decoded`)
  for (let page = 1; page < pages; page++) await sharpen(source, { page }, SMALL_SIDE)
  return first
}

/**
 * Decodes with libvips, and keeps no more of it than a small picture. Rows are read one after the other, so a large one
 * takes little memory.
 */
async function sharpen(source: WholeFile, options: SharpOptions = {}, side?: number): Promise<Pixels> {
  // libvips remembers what it read of a path, even when another file has taken its place.
  sharp.cache(false)
  const picture = sharp(inputOf(source), {
    failOn: 'error',
    limitInputPixels: MOST_PIXELS,
    sequentialRead: true,
    ...options,
  })
  return shrink(picture, side).catch((error) => {
    throw explain(error)
  })
}

// The words of libvips and of the libraries below it. It also calls a TIFF corrupt that has what it can't handle.
const EXCESS =
  /exceeds pixel limit|exceeded more than|factor exceeded|excessive depth|out of memory|unable to allocate|malloc/i
const UNKNOWN =
  /unsupported|not (been )?(supported|built in|configured|implemented|available)|unimplemented|unknown (compression|format)|no (codec|decoder)|corrupt header: tiff2vips|bad labq/i

function explain({ message }: Error) {
  if (EXCESS.test(message)) return excess('it takes more than is decoded here')
  return UNKNOWN.test(message) ? new NotDecodable() : damage(lastLine(message))
}

/** What the decoder says last is what it stopped at; it may name the file before it. */
const lastLine = (message: string) =>
  (message.trim().split('\n').at(-1) ?? '').replace(/^\S*[/\\]\S*:? |:?\s*$/g, '').slice(0, 200)
