import sharp, { type Sharp, type Metadata as SharpMetadata, type SharpOptions } from 'sharp'
import type { Metadata } from '../../schemas/images.ts'
import { wholeScans } from '../decode/jpeg-scans.ts'
import { explain, MAX_PIXELS, open, readWhole, type WholeFile } from '../decode/libvips.ts'
import { TURNS } from '../decode/thumbnail.ts'
import { excess } from '../decode/undecodable.ts'
import { layOut, type Size, turned } from './layout.ts'
import { openPicture, type Picture } from './picture.ts'
import type { Rendered, RenderRequest } from './request.ts'
import { type RawPixels, toTiff } from './tiff-writer.ts'
import { Unrenderable } from './unrenderable.ts'

export { Unrenderable }

// An animation above these limits is shown as its first frame.
const MAX_FRAMES = 200
const MAX_ANIMATION_PIXELS = 2 ** 25
/** An AVIF with more pixels is encoded with the effort of this position. */
const AVIF_EFFORTS = [2 ** 20, 2 ** 19, 0]
/** A WebP with more pixels is encoded with less effort. It takes less than half of the time, and is 5 % larger. */
const LARGE_WEBP_PIXELS = 2 ** 20

/**
 * Makes a variant of a picture: turned as browsers turn it, in sRGB, and without metadata.
 *
 * @param metadata the result of `readMetadata`
 * @throws {Unrenderable} no decoder or preview of the picture exists
 * @throws {Undecodable} the picture is damaged, or exceeds a limit
 */
export async function render(file: WholeFile, metadata: Metadata, request: RenderRequest): Promise<Rendered> {
  const { width = 0, height = 0 } = metadata
  if (width * height > MAX_PIXELS)
    throw excess(`the image has ${width} x ${height} pixels, more than the maximum`)
  const picture = await openPicture(file, metadata)
  try {
    return await encode(picture, request, {})
  } catch (error) {
    // A profile for other channels than those of the picture. Browsers ignore it.
    if (/icc|profile/i.test((error as Error).message)) {
      return await encode(picture, request, { ignoreIcc: true }).catch(rethrow)
    }
    if (metadata.format === 'JPEG') {
      const rendered = await encodeWholeScans(file, picture, request)
      if (rendered) return rendered
    }
    return rethrow(error)
  } finally {
    picture.release?.()
  }
}

/** Encodes the scans before a damaged segment of a JPEG, from which the verdict is made too (`formats/decode/`). */
async function encodeWholeScans(file: WholeFile, picture: Picture, request: RenderRequest) {
  for (const scans of wholeScans(await readWhole(file))) {
    const rendered = await encode({ ...picture, file: scans }, request, {}).catch(() => undefined)
    if (rendered) return rendered
  }
}

function rethrow(error: unknown): never {
  throw explain((error as Error).message)
}

async function encode(picture: Picture, request: RenderRequest, options: SharpOptions): Promise<Rendered> {
  const prepared = await start(picture, request, options)
  const encoded =
    request.format === 'avif' ? await toAvif(prepared.picture, request) : toFormat(prepared, request)
  const { data, info } = await encoded.toBuffer({ resolveWithObject: true })
  return { bytes: data, width: info.width, height: info.pageHeight ?? info.height }
}

/** The pipeline until the encoder, and the size of its result. */
interface Prepared {
  picture: Sharp
  size: Size
}

async function start(picture: Picture, request: RenderRequest, options: SharpOptions): Promise<Prepared> {
  const { orientation = 1 } = picture
  if ('pixels' in picture) {
    // Resized first: only a small copy of the pixels is needed to give them their profile.
    const { pixels } = picture
    const { data, width, height, channels } = pixels
    const raw = sharp(data, { raw: { width, height, channels }, limitInputPixels: MAX_PIXELS })
    if (!pixels.icc && !pixels.isCmyk) return place(raw, pixels, orientation, request)
    // sharp would take the black of CMYK for transparency.
    if (pixels.isCmyk) return place(open(toTiff(pixels), 'lenient', options), pixels, orientation, request)
    const { data: small, info } = await resize(raw, pixels, orientation, request)
      .raw()
      .toBuffer({ resolveWithObject: true })
    const tiff = toTiff({ ...pixels, data: small, width: info.width, height: info.height })
    return finish(open(tiff, 'lenient', options), pixels, orientation, request)
  }
  const first = open(picture.file, 'lenient', { ...picture.options, ...options })
  const size = await first.metadata()
  if (size.channels > (size.space === 'cmyk' ? 5 : 4))
    return start({ pixels: await firstChannels(first), orientation }, request, options)
  if (size.icc && size.depth === 'ushort' && !options.ignoreIcc)
    return start({ pixels: await toEightBits(picture.file, size, request), orientation }, request, options)
  const one = { width: size.width, height: size.pageHeight ?? size.height }
  if (!picture.frames || request.format !== 'webp' || !isShortAnimation(one, picture.frames, request))
    return place(first, one, orientation, request)
  const all = open(picture.file, 'lenient', {
    ...picture.options,
    ...options,
    pages: -1,
    limitInputPixels: MAX_PIXELS,
  })
  return place(all, one, orientation, request)
}

/** sharp converts a picture of 16 bits with a profile to Display P3. So it gets the profile with pixels of 8 bits. */
async function toEightBits(file: WholeFile, { width, height, icc }: SharpMetadata, request: RenderRequest) {
  const target = twiceAsLarge({ width, height }, request)
  const { data, info } = await open(file, 'lenient', { ignoreIcc: true })
    .resize(target.width, target.height, { fit: 'fill' })
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  return { data, ...target, channels: info.channels as RawPixels['channels'], icc }
}

/** At least twice the size of the variant on both sides, if the picture is that large. */
function twiceAsLarge({ width, height }: Size, { width: w = 0, height: h = 0 }: RenderRequest) {
  const side = (length: number, factor: number) => Math.max(1, Math.round(length * factor))
  const factor = w + h === 0 ? 1 : Math.min(1, Math.max((2 * w) / width, (2 * h) / height))
  return { width: side(width, factor), height: side(height, factor) }
}

const COLOURS: Record<string, 1 | 3 | 4> = { 'b-w': 1, grey16: 1, cmyk: 4 }

/** A picture without the channels after its colours: the spot colours and masks of printers. */
async function firstChannels(picture: Sharp): Promise<RawPixels> {
  const { space } = await picture.metadata()
  const { data, info } = await picture.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  const channels = COLOURS[space ?? ''] ?? 3
  const { width, height } = info
  const pixels = new Uint8Array(width * height * channels)
  for (let n = 0; n < width * height; n++)
    for (let channel = 0; channel < channels; channel++)
      pixels[n * channels + channel] = data[n * info.channels + channel]!
  return { data: pixels, width, height, channels, isCmyk: channels === 4 }
}

function isShortAnimation(size: Size, frames: number, request: RenderRequest) {
  const { canvas } = layOut(size, request)
  const pixels = Math.max(canvas.width * canvas.height, (size.width * size.height) / 8)
  return (
    frames <= MAX_FRAMES &&
    frames * pixels <= MAX_ANIMATION_PIXELS &&
    frames * size.width * size.height <= MAX_PIXELS
  )
}

const place = (...[picture, stored, orientation, request]: Parameters<typeof resize>) =>
  finish(resize(picture, stored, orientation, request), stored, orientation, request)

/** Resizes, and cuts off what is outside. @param stored the size of the picture before it is turned */
function resize(picture: Sharp, stored: Size, orientation: number, request: RenderRequest): Sharp {
  const isTurned = orientation >= 5
  const { fit, size } = layOut(isTurned ? turned(stored) : stored, request)
  const { width, height } = isTurned ? turned(size) : size
  return picture.resize(width, height, { fit })
}

/** Turns and pads a picture that has been resized. */
function finish(resized: Sharp, stored: Size, orientation: number, request: RenderRequest): Prepared {
  const { size, canvas } = layOut(orientation >= 5 ? turned(stored) : stored, request)
  const [mirrored, degrees] = TURNS[orientation] ?? [false, 0]
  const upright = resized.flop(mirrored).rotate(degrees)
  const [x, y] = [canvas.width - size.width, canvas.height - size.height]
  const padded =
    x > 0 || y > 0
      ? upright.extend({
          left: x >> 1,
          right: x - (x >> 1),
          top: y >> 1,
          bottom: y - (y >> 1),
          background: request.format === 'jpeg' ? '#fff' : '#0000',
        })
      : upright
  return { picture: padded.toColourspace('srgb'), size: canvas }
}

function toFormat({ picture, size }: Prepared, { format, quality }: RenderRequest): Sharp {
  switch (format) {
    case 'jpeg':
      return picture.flatten({ background: '#fff' }).jpeg({ quality })
    case 'webp':
      return picture.webp({ quality, effort: size.width * size.height > LARGE_WEBP_PIXELS ? 2 : 3 })
    default:
      return picture.png({ compressionLevel: 6 })
  }
}

/**
 * The encoder gets pixels, because libvips turns an AVIF by the Exif of the original, which browsers may ignore. A large
 * picture is encoded with less effort, so that it takes about half a second like a small one: four times faster, and up
 * to 10 % larger.
 */
async function toAvif(picture: Sharp, { quality }: RenderRequest): Promise<Sharp> {
  const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  const effort = AVIF_EFFORTS.findIndex((pixels) => width * height > pixels)
  return sharp(data, { raw: { width, height, channels }, limitInputPixels: MAX_PIXELS }).avif({
    quality,
    effort,
    chromaSubsampling: '4:2:0',
  })
}
