import ExifReader from 'exifreader'
import type { Metadata } from '../../schemas/images.ts'
import { cleanText } from './text.ts'
import type { Directory, Tiff } from './tiff.ts'

/** What tags tell: who took a picture, when and where, and how to turn it. */
export type Tags = Pick<
  Metadata,
  | 'orientation'
  | 'cameraMake'
  | 'cameraModel'
  | 'lens'
  | 'takenAt'
  | 'takenOffset'
  | 'latitude'
  | 'longitude'
  | 'altitude'
  | 'colourSpace'
>
type Found = { [Name in keyof Tags]: Tags[Name] | undefined }

/** The three directories that Exif spreads its tags over. */
export interface ExifDirectories {
  main?: Directory | undefined
  exif?: Directory | undefined
  gps?: Directory | undefined
  /** Interoperability. */
  interop?: Directory | undefined
}

const TEXT_BYTES = 1024
// A packet in a JPEG has at most 64 KiB; an XML parser takes too long for one that grew to megabytes by its history.
const XMP_BYTES = 2 ** 17

/** Follows the pointers from the first directory of a TIFF block to those of Exif and GPS (CIPA DC-008). */
export async function exifDirectories(tiff: Tiff | undefined): Promise<ExifDirectories> {
  const main = await tiff?.directory(tiff.first)
  const follow = async (from: Directory | undefined, tag: number) => {
    const [offset] = (await from?.numbers(tag)) ?? []
    return offset === undefined ? undefined : tiff?.directory(offset)
  }
  const exif = await follow(main, 0x8769)
  return { main, exif, gps: await follow(main, 0x8825), interop: await follow(exif, 0xa005) }
}

/** Reads the tags of Exif and GPS (CIPA DC-008). A tag that can't be read is absent. */
export async function readExif({ main, exif, gps, interop }: ExifDirectories): Promise<Found> {
  const text = async (directory: Directory | undefined, tag: number) =>
    directory && cleanText(await directory.bytes(tag, TEXT_BYTES))
  const numbers = async (directory: Directory | undefined, tag: number, most?: number) =>
    (await directory?.numbers(tag, most)) ?? []

  // TIFF/EP, which raw formats follow, has the time in the first directory.
  const timed = exif?.has(0x9003) ? exif : main
  const [orientation] = await numbers(main, 0x0112)
  const [colourSpace] = await numbers(exif, 0xa001)
  const [altitude] = await numbers(gps, 6)
  const [belowSeaLevel = 0] = await numbers(gps, 5)
  return {
    orientation: within(orientation, 1, 8),
    cameraMake: await text(main, 0x010f),
    cameraModel: await text(main, 0x0110),
    lens: await text(exif, 0xa434),
    takenAt: dateTime(await text(timed, 0x9003)),
    takenOffset: offset(await text(timed, 0x9011)),
    ...place(
      degrees(await numbers(gps, 2, 3), await text(gps, 1), /^([NS])/i),
      degrees(await numbers(gps, 4, 3), await text(gps, 3), /^([EW])/i),
    ),
    altitude: height(altitude, belowSeaLevel),
    // Exif has no number for Adobe RGB: cameras name DCF's optional file instead, and some write 2.
    colourSpace: colourSpace === 2 || (await text(interop, 1)) === 'R03' ? 'Adobe RGB (1998)' : undefined,
  }
}

// The properties of XMP, each with the field that it fills.
const PROPERTIES = [
  ['cameraMake', 'Make'],
  ['cameraModel', 'Model'],
  ['lens', 'Lens'],
  ['takenAt', 'DateTimeOriginal'],
  ['latitude', 'GPSLatitude'],
  ['altitude', 'GPSAltitude'],
] as const

/**
 * Reads the same from an XMP packet (ISO 16684-1), where pictures have it that went through an editor. Nothing is read
 * of a packet that can't add to what Exif tells.
 */
export function readXmp(packet: Buffer, fromExif: Found): Found {
  // What stands after the packet is of no use, and exifreader takes quadratic time for much of it.
  const end = packet.indexOf('<?xpacket end')
  const xml = packet.subarray(Math.max(packet.indexOf('<'), 0), end < 0 ? undefined : end)
  const adds = PROPERTIES.some(([field, property]) => fromExif[field] === undefined && xml.includes(property))
  if (!adds || xml.length > XMP_BYTES) return {}
  let tags: ExifReader.XmpTags
  try {
    // exifreader knows a packet by its processing instruction, which not all have.
    const marked = Buffer.concat([Buffer.from('<?xpacket begin="" id=""?>'), xml])
    tags = ExifReader.load(marked, { expanded: true, includeTags: { xmp: true } }).xmp ?? {}
  } catch {
    return {}
  }
  const text = (name: string) => {
    const value = tags[name]?.value
    return typeof value === 'string' ? cleanText(value) : undefined
  }
  const [, time, zone] = /^(.+?)(Z|[+-]\d\d:\d\d)?$/.exec(text('DateTimeOriginal') ?? '') ?? []
  const [numerator, denominator = 1] = text('GPSAltitude')?.split('/').map(Number) ?? []
  return {
    cameraMake: text('Make'),
    cameraModel: text('Model'),
    lens: text('LensModel') ?? text('Lens'),
    takenAt: dateTime(time),
    takenOffset: offset(zone === 'Z' ? '+00:00' : zone),
    ...place(
      degrees(...coordinate(text('GPSLatitude')), /^([NS])/i),
      degrees(...coordinate(text('GPSLongitude')), /^([EW])/i),
    ),
    altitude: height(numerator && numerator / denominator, Number(text('GPSAltitudeRef') ?? 0)),
  }
}

const within = (value: number | undefined, least: number, most: number) =>
  value !== undefined && value >= least && value <= most ? value : undefined

/** Exif writes 2026:11:01 12:00:00, XMP may leave the seconds out; zeros or blanks stand for what the camera did not know. */
function dateTime(value: string | undefined) {
  const [, year, month, day, time, seconds = ':00'] =
    /^(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d:\d\d)(:\d\d)?/.exec(value ?? '') ?? []
  const iso = `${year}-${month}-${day}T${time}${seconds}`
  const date = new Date(`${iso}Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(iso) && Number(year) > 0
    ? iso
    : undefined
}

// From -12:00 to +14:00 there are places that have it.
const offset = (value: string | undefined) =>
  /^[+-](0\d|1[0-4]):[0-5]\d$/.test(value ?? '') ? value : undefined

/** Degrees, minutes and seconds; some write the last two as 0/0 where they have them in the first. */
function degrees(parts: number[], reference: string | undefined, references: RegExp) {
  const [whole, minutes = 0, seconds = 0] = parts
  const [, side] = references.exec(reference ?? '') ?? []
  if (whole === undefined || !side) return undefined
  const value = whole + finite(minutes) / 60 + finite(seconds) / 3600
  return /[SW]/i.test(side) ? 0 - value : value
}

const finite = (value: number) => (Number.isFinite(value) ? value : 0)

/** XMP writes 43,28.0249N or 43,28,1N. */
function coordinate(value: string | undefined): [number[], string | undefined] {
  const [, parts, side] = /^([\d.,]+)([NSEW])$/.exec(value ?? '') ?? []
  return [parts?.split(',').map(Number) ?? [], side]
}

/** A place is both or none. */
function place(latitude: number | undefined, longitude: number | undefined) {
  const found = { latitude: within(latitude, -90, 90), longitude: within(longitude, -180, 180) }
  return found.latitude === undefined || found.longitude === undefined ? {} : found
}

// Odd references are those for below (CIPA DC-008-2023, GPSAltitudeRef): 1 of the sea level or the ellipsoid, 3 of the sea level.
const height = (metres: number | undefined, reference: number) =>
  metres === undefined ? undefined : within(reference % 2 === 1 ? 0 - metres : metres, -12_000, 1_000_000)
