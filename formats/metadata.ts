import type { Metadata } from '../schemas/images.ts'
import { type Format, formatOf } from './format.ts'
import { readBmp, readIco } from './headers/bitmap.ts'
import { type Source, withBytes } from './headers/bytes.ts'
import { profileName } from './headers/colour.ts'
import { readExif } from './headers/exif.ts'
import type { Header, HeaderReader } from './headers/header.ts'
import { readHeif } from './headers/heif.ts'
import { readJpeg, readJpegStart, START_BYTES } from './headers/jpeg.ts'
import { readJpeg2000 } from './headers/jpeg2000.ts'
import { readJxl } from './headers/jxl.ts'
import { ownOrientation } from './headers/orientation.ts'
import { readPng } from './headers/png.ts'
import { readPsd } from './headers/psd.ts'
import { readCr3, readRaf } from './headers/raw.ts'
import { readBySharp } from './headers/sharp.ts'
import { readSvg } from './headers/svg.ts'
import type { FoundTags } from './headers/tags.ts'
import { readTiffFile } from './headers/tiff-files.ts'
import { readWebp } from './headers/webp.ts'
import { mayAddTags, readXmp } from './headers/xmp.ts'

export { type Source, START_BYTES }

/** The file begins like an image, but has no header that can be read. */
export class NotAnImage extends Error {
  override name = 'NotAnImage'
}

const readers: Record<string, HeaderReader> = {
  JPEG: readJpeg,
  PNG: readPng,
  APNG: readPng,
  GIF: ({ source }) => readBySharp(source),
  WebP: readWebp,
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

// An SVG can ask for no pixels at all. A raw file that is cut off may have lost the directory with its size.
const sizeIsOptional = new Set(['SVG', 'DNG', 'CR2', 'CR3', 'NEF', 'ARW', 'ORF', 'RW2', 'RAF'])

/**
 * Reads the headers and tags of an image. It decodes no pixels. It reads only the parts of a file on disk that it needs,
 * and accepts the front of a file.
 *
 * @param format the result of `sniff`. The format in the metadata can be more precise.
 * @throws {NotAnImage} the file begins like an image, but has no header that can be read
 */
export async function readMetadata(source: Source, { format, mediaType }: Format): Promise<Metadata> {
  const found = await withBytes(source, async (bytes) => {
    const header = await readers[format]?.({ bytes, source, mediaType })
    return header && toMetadata(header, mediaType)
  })
  if (!found || !(found.width || sizeIsOptional.has(found.format)))
    throw new NotAnImage(`it begins like ${format}, but has no readable header`)
  return found
}

/**
 * Reads the metadata of an image from its first `START_BYTES`; undefined if the rest of the file can have more.
 *
 * @param front `START_BYTES`, or more
 */
export async function readStart(front: Source, { format, mediaType }: Format): Promise<Metadata | undefined> {
  if (format !== 'JPEG') return undefined
  const header = await withBytes(front, readJpegStart)
  if (!header) return undefined
  // XML is parsed only in a sandboxed process.
  const { exif, xmp } = header
  if (xmp && mayAddTags(xmp, exif ? await readExif(exif) : noTags)) return undefined
  return toMetadata(header, mediaType)
}

async function toMetadata({ exif, xmp, icc, ...picture }: Header, sniffed: string): Promise<Metadata> {
  const fromExif = exif ? await readExif(exif) : noTags
  const fromXmp = xmp ? readXmp(xmp, fromExif) : noTags
  const tags = { ...fromXmp, ...known(fromExif) }
  // The offset belongs to the time.
  if (fromExif.takenAt) tags.takenOffset = fromExif.takenOffset
  const size = { width: whole(picture.width), height: whole(picture.height) }
  const frames = whole(picture.frames)
  return {
    ...formatOf(picture.mediaType ?? sniffed)!,
    ...known({
      ...tags,
      ...(size.width && size.height && size),
      orientation:
        'orientation' in picture ? ownOrientation(picture.orientation, tags.orientation) : tags.orientation,
      ...(frames !== undefined && frames > 1 && { frames, duration: whole(picture.duration) }),
      bitDepth: whole(picture.bitDepth, 64),
      colourSpace:
        profileName(icc) ??
        (picture.colourSpace === 'sRGB' ? tags.colourSpace : undefined) ??
        picture.colourSpace,
      hasAlpha: picture.hasAlpha,
    }),
  }
}

const noTags: Partial<FoundTags> = {}

// Databases have 32-bit integers.
const MAX_INTEGER = 2 ** 31 - 1

/** An integer from 1 to `max`; undefined for any other number. */
const whole = (value: number | undefined, max = MAX_INTEGER) => {
  const rounded = Math.round(value ?? 0)
  return rounded >= 1 && rounded <= max ? rounded : undefined
}

type Known<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> }

function known<T extends object>(found: T) {
  const result: Partial<T> = {}
  for (const name in found) if (found[name] !== undefined) result[name] = found[name]
  return result as Known<T>
}
