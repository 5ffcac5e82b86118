import type { Metadata } from '../schemas/images.ts'
import type { Format } from './format.ts'
import { readBmp, readIco } from './headers/bitmap.ts'
import { type Source, withBytes } from './headers/bytes.ts'
import { readGif } from './headers/gif.ts'
import type { HeaderReader } from './headers/header.ts'
import { readHeif } from './headers/heif.ts'
import { readJpeg } from './headers/jpeg.ts'
import { readJpeg2000 } from './headers/jpeg2000.ts'
import { readJxl } from './headers/jxl.ts'
import { readPng } from './headers/png.ts'
import { readPsd } from './headers/psd.ts'
import { readCr3, readRaf } from './headers/raw.ts'
import { readSvg } from './headers/svg.ts'
import { readTiffFile } from './headers/tiff-files.ts'
import { readWebp } from './headers/webp.ts'
import { readXmp } from './headers/xmp.ts'
import { toMetadata } from './to-metadata.ts'

/** The file begins like an image, but has no header that can be read. */
export class NotAnImage extends Error {
  override name = 'NotAnImage'
}

const readers: Record<string, HeaderReader> = {
  JPEG: readJpeg,
  PNG: readPng,
  APNG: readPng,
  GIF: readGif,
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
    return header && toMetadata(header, mediaType, readXmp)
  })
  if (!found || !(found.width || sizeIsOptional.has(found.format)))
    throw new NotAnImage(`it begins like ${format}, but has no readable header`)
  return found
}
