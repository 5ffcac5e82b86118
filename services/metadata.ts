import { open, stat } from 'node:fs/promises'
import ExifReader from 'exifreader'
import { imageSize } from 'image-size'
import sharp from 'sharp'
import type { Metadata } from '../schemas/images.ts'
import type { Format } from './formats.ts'

/** The file begins like an image and is none. */
export class NotAnImage extends Error {
  override name = 'NotAnImage'
}

/** Where the bytes are: in memory, or in a file. */
export type Source = Buffer | { path: string }

// Photographs carry their tags at the front. Of a smaller file all is read, since some formats have them at the end.
const TAGS_IN_WHOLE_BYTES = 32 * 2 ** 20
const TAGS_IN_FRONT_BYTES = 2 ** 20

// What sharp reads, sharp judges: a file of these that it can't open is no image.
const judgedBySharp = new Set(['JPEG', 'PNG', 'APNG', 'GIF', 'WebP', 'TIFF', 'SVG'])
// sharp turns these, and tells the width and height as shown.
const turnedBySharp = new Set(['HEIC', 'HEIF', 'AVIF'])

/**
 * Reads what an image tells of itself. It reads headers and tags and decodes no pixels.
 *
 * @throws {NotAnImage}
 */
export async function readMetadata(source: Source, { format, mediaType }: Format): Promise<Metadata> {
  const front = Buffer.isBuffer(source) ? source : await readFront(source.path)
  const size = (await sizeBySharp(source, format)) ?? sizeByHeader(front)
  return { format, mediaType, ...size, ...readTags(front) }
}

async function sizeBySharp(source: Source, format: string) {
  if (turnedBySharp.has(format)) return undefined
  try {
    const { width, height } = await sharp(Buffer.isBuffer(source) ? source : source.path, {
      limitInputPixels: false, // nothing is decoded
      failOn: 'none',
    }).metadata()
    return { width, height }
  } catch (error) {
    if (judgedBySharp.has(format))
      throw new NotAnImage(`it begins like ${format}, but has no readable header`, { cause: error })
    return undefined
  }
}

function sizeByHeader(front: Buffer) {
  try {
    const { width, height } = imageSize(front)
    return width > 0 && height > 0 ? { width: Math.round(width), height: Math.round(height) } : {}
  } catch {
    return {}
  }
}

async function readFront(path: string) {
  const { size } = await stat(path)
  const file = await open(path)
  try {
    const length = size <= TAGS_IN_WHOLE_BYTES ? size : TAGS_IN_FRONT_BYTES
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** The tags of Exif and GPS (CIPA DC-008). A tag that can't be read is absent; broken tags don't make a picture broken. */
function readTags(front: Buffer): Partial<Metadata> {
  let tags: ExifReader.ExpandedTags
  try {
    tags = ExifReader.load(front, { expanded: true, includeTags: { exif: EXIF_TAGS, gps: true } })
  } catch {
    return {}
  }
  const { exif = {}, gps = {} } = tags
  const found = {
    orientation: within(exif.Orientation?.value, 1, 8),
    cameraMake: text(exif.Make?.value),
    cameraModel: text(exif.Model?.value),
    takenAt: dateTime(text(exif.DateTimeOriginal?.value)),
    takenOffset: offset(text(exif.OffsetTimeOriginal?.value)),
    latitude: within(gps.Latitude, -90, 90),
    longitude: within(gps.Longitude, -180, 180),
    altitude: within(gps.Altitude, -12_000, 1_000_000),
  }
  // A place is both or none.
  if (found.latitude === undefined || found.longitude === undefined) {
    found.latitude = undefined
    found.longitude = undefined
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}

const EXIF_TAGS = [
  'Make',
  'Model',
  'Orientation',
  'DateTimeOriginal',
  'OffsetTimeOriginal',
  'GPSLatitude',
  'GPSLatitudeRef',
  'GPSLongitude',
  'GPSLongitudeRef',
  'GPSAltitude',
  'GPSAltitudeRef',
]
const TEXT_LENGTH = 200
// What exifreader gives for a tag that points outside of the file.
const FAULTY = '<faulty value>'

/** A tag's text without what is no text: it ends at the first NUL, has no control characters and no blanks around it. */
function text(value: unknown) {
  const raw = Array.isArray(value) ? value[0] : value
  if (typeof raw !== 'string' || raw === FAULTY) return undefined
  const [beforeNul = ''] = raw.split('\0')
  const clean = beforeNul
    .replace(/\p{C}+/gu, ' ')
    .trim()
    .slice(0, TEXT_LENGTH)
  return clean === '' ? undefined : clean
}

const within = (value: unknown, least: number, most: number) =>
  typeof value === 'number' && value >= least && value <= most ? value : undefined

/** Exif writes 2026:11:01 12:00:00; zeros or blanks stand for what the camera did not know. */
function dateTime(value: string | undefined) {
  const [, year, month, day, time] =
    /^(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d:\d\d:\d\d)/.exec(value ?? '') ?? []
  const iso = `${year}-${month}-${day}T${time}`
  const date = new Date(`${iso}Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(iso) && Number(year) > 0
    ? iso
    : undefined
}

const offset = (value: string | undefined) => (/^[+-]\d\d:\d\d$/.test(value ?? '') ? value : undefined)
