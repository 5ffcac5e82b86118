import { rgbaToThumbHash } from 'thumbhash'
import type { Metadata } from '../../schemas/images.ts'
import { withBytes } from '../headers/bytes.ts'
import { decodeHeif } from './heif.ts'
import { wholeScans } from './jpeg-scans.ts'
import { decodeByLibvips, MAX_PIXELS, type Mode, open, readWhole, type WholeFile } from './libvips.ts'
import { decodeOther, OTHER_FORMATS } from './others.ts'
import { pad, presentShare } from './present.ts'
import { normalizeSvg } from './svg.ts'
import { orient, type Pixels } from './thumbnail.ts'
import { excess, NoDecoder, Undecodable, unsupported } from './undecodable.ts'

const MAX_PIXELS_IN_ALL = 2 ** 29
const MAX_FRAMES = 10_000
const MAX_SVG_BYTES = 2 ** 24

// Frames after the first are only checked. They are made this small, so that thousands of them fit in memory.
const SMALL = { side: 16 }

/** A picture that could be decoded. */
export interface Decoded {
  /** A ThumbHash of the picture as shown, in Base64. */
  placeholder: string
  /** Set if the picture was only decoded leniently. */
  damage?: Damage
}

export interface Damage {
  /** The decoder's message. */
  reason: string
  /** The share of the picture that is present, from 0 to 1, if it can be determined. */
  presentShare?: number
}

type Decode = (file: WholeFile, metadata: Metadata, mode: Mode) => Promise<Pixels>

const decoders: Record<string, Decode> = {
  JPEG: decodeStill,
  PNG: decodePng,
  // libvips decodes the first frame of an animated PNG.
  APNG: decodePng,
  GIF: decodeAnimation,
  WebP: decodeAnimation,
  AVIF: async (file, { duration }, mode) => {
    const decoding = decodeByLibvips(file, mode)
    return duration === undefined ? decoding : decoding.catch(asNoDecoder)
  },
  HEIC: decodePrimary,
  HEIF: decodePrimary,
  TIFF: decodePages,
  SVG: decodeSvg,
}

/**
 * Decodes a picture and makes its placeholder: strictly, then without the decoder's own limits, then leniently. Our own
 * limits are checked first.
 *
 * @param metadata the result of `readMetadata`
 * @returns undefined if no decoder supports this kind of file
 * @throws {Undecodable} no decoder has made a picture
 */
export async function decode(file: WholeFile, metadata: Metadata): Promise<Decoded | undefined> {
  checkLimits(metadata)
  try {
    if (OTHER_FORMATS.has(metadata.format))
      return { placeholder: toPlaceholder(await decodeOther(file, metadata)) }
    const decoder = decoders[metadata.format]
    if (!decoder) return undefined
    const attempt = (mode: Mode) => catchFailure(decoder(file, metadata, mode))
    const strict = await attempt('strict')
    if (!(strict instanceof Undecodable)) return { placeholder: toPlaceholder(strict) }
    if (strict.isFinal) throw strict
    const unlimited = await attempt('unlimited')
    if (!(unlimited instanceof Undecodable)) return { placeholder: toPlaceholder(unlimited) }
    const completed = await decodeCompleted(file, metadata)
    if (completed) return { placeholder: toPlaceholder(completed) }
    return await decodeDamaged(file, metadata, attempt, unlimited)
  } catch (error) {
    if (error instanceof NoDecoder) return undefined
    throw error
  }
}

async function catchFailure<T>(decoding: Promise<T>): Promise<T | Undecodable> {
  try {
    return await decoding
  } catch (error) {
    if (error instanceof Undecodable) return error
    throw error
  }
}

function checkLimits({ width = 0, height = 0, frames = 1 }: Metadata) {
  const pixels = width * height
  const million = (count: number) => `${Math.floor(count / 1e6)} million`
  if (frames > MAX_FRAMES) throw excess(`the image has ${frames} frames, the maximum is ${MAX_FRAMES}`)
  if (pixels > MAX_PIXELS)
    throw excess(`the image has ${width} x ${height} pixels, the maximum is ${million(MAX_PIXELS)} pixels`)
  if (pixels * frames > MAX_PIXELS_IN_ALL)
    throw excess(
      `the ${frames} frames of the image have ${million(pixels * frames)} pixels, the maximum is ${million(MAX_PIXELS_IN_ALL)}`,
    )
}

const toPlaceholder = ({ width, height, data }: Pixels) =>
  Buffer.from(rgbaToThumbHash(width, height, data)).toString('base64')

// The end markers that some writers omit. A picture is complete without its end marker.
const ENDS: Record<string, Buffer> = {
  JPEG: Buffer.of(0xff, 0xd9),
  GIF: Buffer.of(0, 0x3b),
  PNG: Buffer.from('0000000049454e44ae426082', 'hex'),
}

/** Decodes a picture that lacks only the marker of its end; undefined if it lacks more. */
async function decodeCompleted(file: WholeFile, metadata: Metadata): Promise<Pixels | undefined> {
  const end = ENDS[metadata.format]
  if (!end) return undefined
  const completed = Buffer.concat([await readWhole(file), end])
  // libjpeg only warns of missing data, and reads them all only if it does not make the picture smaller itself.
  const check = await catchFailure(
    decodeByLibvips(completed, 'unlimited', { failOn: 'warning' }, { whole: true }),
  )
  if (check instanceof Undecodable) return undefined
  return orient(await decodeByLibvips(completed, 'unlimited'), metadata.orientation)
}

/** @param failure why the strict decoding has failed */
async function decodeDamaged(
  file: WholeFile,
  metadata: Metadata,
  attempt: (mode: Mode) => Promise<Pixels | Undecodable>,
  failure: Undecodable,
): Promise<Decoded> {
  const lenient = await attempt('lenient')
  const pixels = lenient instanceof Undecodable ? await decodeRepaired(file, metadata) : lenient
  if (pixels instanceof Undecodable || !pixels) throw mostHarmless(failure, lenient as Undecodable)
  // libtiff makes an empty picture if it can decode no part.
  if (metadata.format === 'TIFF' && hasOneColour(pixels)) throw failure
  const share = await presentShare(await readWhole(file), metadata)
  if (share === 0) throw failure
  return {
    placeholder: toPlaceholder(pixels),
    damage: { reason: failure.message, ...(share !== undefined && { presentShare: share }) },
  }
}

function hasOneColour({ data }: Pixels) {
  const pixels = new Uint32Array(Uint8Array.from(data).buffer)
  return pixels.every((pixel) => pixel === pixels[0])
}

const decodeRepaired = (file: WholeFile, metadata: Metadata) =>
  metadata.format === 'JPEG' ? decodeWholeScans(file, metadata) : decodeRepairedWebp(file, metadata)

/** Decodes the scans before a damaged segment. */
async function decodeWholeScans(file: WholeFile, { orientation }: Metadata): Promise<Pixels | undefined> {
  for (const scans of wholeScans(await readWhole(file))) {
    const pixels = await catchFailure(decodeByLibvips(scans, 'lenient'))
    if (!(pixels instanceof Undecodable)) return orient(pixels, orientation)
  }
}

/** If one of the attempts has failed for another reason than damage, the image is not corrupt. */
const mostHarmless = (...failures: Undecodable[]) =>
  failures.find(({ kind }) => kind !== 'damage') ?? failures[0]!

/**
 * Decodes a damaged WebP. libwebp reads only whole files, so zeros replace the missing bytes. Only the
 * first frame of an animation is decoded.
 */
async function decodeRepairedWebp(
  file: WholeFile,
  { format, frames }: Metadata,
): Promise<Pixels | undefined> {
  if (format !== 'WebP') return undefined
  const bytes = await readWhole(file)
  const repaired = frames === undefined ? bytes : firstFrame(bytes)
  if (!repaired) return undefined
  const size = 8 + repaired.readUInt32LE(4)
  const pixels = await catchFailure(decodeByLibvips(pad(repaired, size, 0), 'lenient'))
  return pixels instanceof Undecodable ? undefined : pixels
}

const FRAME_HEADER_BYTES = 16

/** The first frame of an animated WebP, as a still one without its alpha (RFC 9649 §2.7.1.1). */
function firstFrame(bytes: Buffer): Buffer | undefined {
  const frame = bytes.indexOf('ANMF')
  let at = frame + 8 + FRAME_HEADER_BYTES
  if (frame >= 0 && bytes.toString('latin1', at, at + 4) === 'ALPH')
    at += 8 + ((bytes.readUInt32LE(at + 4) + 1) & ~1)
  if (frame < 0 || at + 8 > bytes.length || !/^VP8[ L]$/.test(bytes.toString('latin1', at, at + 4)))
    return undefined
  const size = 8 + ((bytes.readUInt32LE(at + 4) + 1) & ~1)
  const head = Buffer.from('RIFF\0\0\0\0WEBP', 'latin1')
  head.writeUInt32LE(size + 4, 4)
  return Buffer.concat([head, bytes.subarray(at, at + size)])
}

async function decodeStill(file: WholeFile, { orientation }: Metadata, mode: Mode) {
  return orient(await decodeByLibvips(file, mode), orientation)
}

async function decodePng(file: WholeFile, metadata: Metadata, mode: Mode) {
  // Apple's own kind of PNG begins with this chunk, and no other decoder supports it.
  const head = await withBytes(file, (bytes) => bytes.read(0, 64))
  if (head.includes('CgBI')) throw unsupported("Apple's CgBI")
  return decodeStill(file, metadata, mode)
}

async function decodePrimary(file: WholeFile, { mediaType }: Metadata, mode: Mode) {
  const decoding = decodeHeif(await readWhole(file), mode)
  return mediaType.endsWith('-sequence') ? decoding.catch(asNoDecoder) : decoding
}

/** A sequence need not have a still picture, and its frames are not decoded. */
function asNoDecoder(error: Error): never {
  throw error instanceof Undecodable ? new NoDecoder() : error
}

async function decodeSvg(file: WholeFile, _metadata: Metadata, mode: Mode) {
  // librsvg gets the bytes and not the path, so that it cannot draw other files.
  const svg = await readWhole(file)
  if (svg.length > MAX_SVG_BYTES) throw excess(`the SVG has more than ${MAX_SVG_BYTES / 2 ** 20} MiB`)
  return decodeByLibvips(mode === 'strict' ? svg : normalizeSvg(svg), mode)
}

async function decodeAnimation(file: WholeFile, metadata: Metadata, mode: Mode) {
  const first = await decodeStill(file, metadata, mode)
  if (metadata.frames !== undefined && mode !== 'lenient')
    await decodeByLibvips(file, mode, { pages: -1, limitInputPixels: MAX_PIXELS_IN_ALL }, SMALL)
  return first
}

async function decodePages(file: WholeFile, metadata: Metadata, mode: Mode) {
  const first = await decodeStill(file, metadata, mode)
  if (metadata.frames === undefined || mode === 'lenient') return first
  // Smaller versions of a page count too. They are no frames.
  const { pages = 1 } = await open(file, 'lenient', { limitInputPixels: false }).metadata()
  if (pages > MAX_FRAMES) throw excess(`the image has ${pages} pages, the maximum is ${MAX_FRAMES}`)
  for (let page = 1; page < pages; page++) await decodeByLibvips(file, mode, { page }, SMALL)
  return first
}
