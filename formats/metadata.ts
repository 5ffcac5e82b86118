import type { Metadata } from '../schemas/images.ts'
import { type Format, formatOf } from './format.ts'
import { readBmp, readIco, sizeOf } from './headers/bitmap.ts'
import { type Source, withBytes } from './headers/bytes.ts'
import { profileName } from './headers/colour.ts'
import type { Header, HeaderReader } from './headers/header.ts'
import { readHeif } from './headers/heif.ts'
import { readJpeg, readJpegStart, START_BYTES } from './headers/jpeg.ts'
import { readJpeg2000 } from './headers/jpeg2000.ts'
import { readJxl } from './headers/jxl.ts'
import { readPng } from './headers/png.ts'
import { readPsd } from './headers/psd.ts'
import { readCr3, readRaf } from './headers/raw.ts'
import { readBySharp } from './headers/sharp.ts'
import { readSvg } from './headers/svg.ts'
import { readExif, readXmp } from './headers/tags.ts'
import { readTiffFile } from './headers/tiff-files.ts'

export { type Source, START_BYTES }

/** The file begins like an image and is none. */
export class NotAnImage extends Error {
  override name = 'NotAnImage'
}

const WEBP_HEAD_BYTES = 30

const readers: Record<string, HeaderReader> = {
  JPEG: readJpeg,
  PNG: readPng,
  APNG: readPng,
  GIF: ({ source }) => readBySharp(source),
  // libwebp reads only whole files.
  WebP: async ({ bytes, source }) =>
    (await readBySharp(source)) ?? sizeOf(await bytes.read(0, WEBP_HEAD_BYTES)),
  AVIF: readHeif,
  HEIC: readHeif,
  HEIF: readHeif,
  TIFF: readTiffFile,
  BMP: readBmp,
  ICO: readIco,
  SVG: readSvg,
  'JPEG XL': readJxl,
  'JPEG 2000': readJpeg2000,
  PSD: readPsd,
  DNG: readTiffFile,
  CR2: readTiffFile,
  CR3: readCr3,
  NEF: readTiffFile,
  ARW: readTiffFile,
  ORF: readTiffFile,
  RW2: readTiffFile,
  RAF: readRaf,
}

// An SVG need not have a size, and of a raw file that is cut short the directory with it may be lost.
const sizeIsOptional = new Set(['SVG', 'DNG', 'CR2', 'CR3', 'NEF', 'ARW', 'ORF', 'RW2', 'RAF'])

/**
 * Reads what an image tells of itself. It reads headers and tags and decodes no pixels; of a file on disk it takes what
 * it needs, and the front of a file it reads as far as that goes.
 *
 * @param format what `sniff` says; the answer may know it more closely
 * @throws {NotAnImage} it begins like an image, and has no header that can be read
 */
export async function readMetadata(source: Source, { format, mediaType }: Format): Promise<Metadata> {
  const found = await withBytes(source, async (bytes) => {
    const header = await readers[format]?.({ bytes, source, mediaType })
    return header && gather(header, mediaType)
  })
  if (!found || !(found.width || sizeIsOptional.has(found.format)))
    throw new NotAnImage(`it begins like ${format}, but has no readable header`)
  return found
}

/**
 * Reads of the first `START_BYTES` of an image what all of it tells of itself; undefined where they may not be enough.
 *
 * @param front as many bytes, or more
 */
export async function readStart(front: Source, { format, mediaType }: Format): Promise<Metadata | undefined> {
  if (format !== 'JPEG') return undefined
  const header = await withBytes(front, readJpegStart)
  return header && gather(header, mediaType)
}

async function gather({ exif, xmp, icc, ...picture }: Header, sniffed: string): Promise<Metadata> {
  const fromExif = exif ? await readExif(exif) : {}
  const fromXmp = xmp ? readXmp(xmp, fromExif) : {}
  const tags = { ...fromXmp, ...known(fromExif) }
  // Time and offset belong together.
  if (fromExif.takenAt) tags.takenOffset = fromExif.takenOffset
  const size = { width: whole(picture.width, MOST_PIXELS), height: whole(picture.height, MOST_PIXELS) }
  const frames = whole(picture.frames, MOST_FRAMES)
  const several = frames !== undefined && frames > 1
  return {
    ...formatOf(picture.mediaType ?? sniffed)!,
    ...known({
      ...tags,
      ...(size.width && size.height && size),
      orientation:
        'orientation' in picture ? ownOrientation(picture.orientation, tags.orientation) : tags.orientation,
      ...(several && { frames, duration: whole(picture.duration, MOST_MILLISECONDS) }),
      bitDepth: whole(picture.bitDepth, 64),
      colourSpace:
        profileName(icc) ??
        (picture.colourSpace === 'sRGB' ? tags.colourSpace : undefined) ??
        picture.colourSpace,
      hasAlpha: picture.hasAlpha,
    }),
  }
}

/** Of a format that turns by itself, Exif's word counts only where it says nothing else: that it is not turned. */
const ownOrientation = (own: number | undefined, byExif: number | undefined) =>
  own ?? (byExif === 1 ? byExif : undefined)

// What fits a 32-bit integer, as databases have it.
const MOST_PIXELS = 2 ** 31 - 1
const MOST_FRAMES = 2 ** 31 - 1
const MOST_MILLISECONDS = 2 ** 31 - 1

/** A whole number from 1 to `most`; undefined for any other. */
const whole = (value: number | undefined, most: number) => {
  const rounded = Math.round(value ?? 0)
  return rounded >= 1 && rounded <= most ? rounded : undefined
}

type Known<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> }

function known<T extends object>(found: T) {
  const result: Partial<T> = {}
  for (const name in found) if (found[name] !== undefined) result[name] = found[name]
  return result as Known<T>
}
