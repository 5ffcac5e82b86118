import { stat } from 'node:fs/promises'
import sharp from 'sharp'
import type { Metadata } from '../../schemas/images.ts'
import { compareLength } from '../declared-length.ts'
import { openPicture, type Picture } from '../render/picture.ts'
import { toTiff } from '../render/tiff-writer.ts'
import { Unrenderable } from '../render/unrenderable.ts'
import { isCovered } from '../structure.ts'
import { decodeByLibvips, type WholeFile } from './libvips.ts'
import { orient, type Pixels, shrink } from './thumbnail.ts'
import { NoDecoder, Undecodable, unsupported } from './undecodable.ts'

const RAW_FORMATS = new Set(['DNG', 'CR2', 'CR3', 'NEF', 'ARW', 'ORF', 'RW2', 'RAF'])
/** The formats that neither libvips nor libheif decode. Raw formats are verified by the camera's preview in them. */
export const OTHER_FORMATS: ReadonlySet<string> = new Set([
  'BMP',
  'ICO',
  'PSD',
  'JPEG XL',
  'JPEG 2000',
  ...RAW_FORMATS,
])

// These decoders hold the whole file and all pixels, JPEG XL with up to 20 bytes for each.
const MAX_FILE_BYTES = 2 ** 28
const DEFAULT_MAX_PIXELS = 2 ** 26
const MAX_PIXELS: Record<string, number> = { 'JPEG XL': 2 ** 25 }

/**
 * Decodes a picture of one of `OTHER_FORMATS`, and returns only a small one.
 *
 * @throws {NoDecoder} the decoder does not support this kind of file, or it is too large for it
 * @throws {Undecodable} damage, or the decoder's limit
 */
export async function decodeOther(file: WholeFile, metadata: Metadata): Promise<Pixels> {
  const { format, width = 0, height = 0 } = metadata
  const isRaw = RAW_FORMATS.has(format)
  const size = Buffer.isBuffer(file) ? file.length : (await stat(file.path)).size
  const maxPixels = isRaw ? Number.POSITIVE_INFINITY : (MAX_PIXELS[format] ?? DEFAULT_MAX_PIXELS)
  if (size > MAX_FILE_BYTES || width * height > maxPixels) throw new NoDecoder()
  try {
    return await toPixels(await openPicture(file, metadata))
  } catch (error) {
    // The raw picture may be complete although its preview is damaged.
    if (error instanceof Unrenderable || (error instanceof Undecodable && isRaw)) throw new NoDecoder()
    const isDamage = error instanceof Undecodable && error.kind === 'damage'
    // Another decoder may show the first part of a file that is cut off.
    if (isDamage && (await isCutOff(file, metadata))) throw unsupported(`it is cut off, ${error.message}`)
    throw error
  }
}

async function isCutOff(file: WholeFile, metadata: Metadata) {
  if ((await compareLength(file, metadata)) === 'short') return true
  // The last box need not have a length, but the parts of the codestream have.
  return metadata.format === 'JPEG 2000' && isCovered(file, metadata)
}

async function toPixels(picture: Picture): Promise<Pixels> {
  if (!('pixels' in picture))
    return orient(await decodeByLibvips(picture.file, 'unlimited'), picture.orientation)
  const { pixels } = picture
  const { data, width, height, channels } = pixels
  // sharp would take the black of CMYK for transparency. A profile hardly changes a placeholder.
  const opened = pixels.isCmyk
    ? sharp(toTiff({ ...pixels, icc: undefined }))
    : sharp(data, { raw: { width, height, channels } })
  return orient(await shrink(opened), picture.orientation)
}
