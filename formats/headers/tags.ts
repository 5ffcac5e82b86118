import type { Metadata } from '../../schemas/images.ts'

/** The tags of a picture: camera, time, place, orientation. */
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
export type FoundTags = { [Name in keyof Tags]: Tags[Name] | undefined }

export const within = (value: number | undefined, min: number, max: number) =>
  value !== undefined && value >= min && value <= max ? value : undefined

const DATE = /^(\d{4})[\s:/.-]+(\d{1,2})[\s:/.-]+(\d{1,2})[\sT:]+(\d{1,2})[\s:]+(\d{1,2})(?:[\s:]+(\d{1,2}))?/
const ZONE = /(?:\d|\s)(Z|[+-]\d{1,2}:?\d\d)\s*$/

/**
 * A time and its offset from UTC. Exif writes `2026:11:01 12:00:00`. XMP writes `2026-11-01T12:00+01:00`. Cameras also
 * write slashes, blanks instead of leading zeros, and the hour 24 for the first hour of the day (Android's pattern
 * `kk`). Zeros or blanks mean that the camera did not know the time.
 */
export function dateTime(value: string | undefined): { time?: string; zone?: string | undefined } {
  const [, year, ...rest] = DATE.exec(value ?? '') ?? []
  if (year === undefined) return {}
  const [month, day, hours, minutes, seconds = '00'] = rest.map((part) => part?.padStart(2, '0'))
  const time = `${year}-${month}-${day}T${hours === '24' ? '00' : hours}:${minutes}:${seconds}`
  const date = new Date(`${time}Z`)
  const exists = !Number.isNaN(date.getTime()) && date.toISOString().startsWith(time) && Number(year) > 0
  return exists ? { time, zone: offset(ZONE.exec(value!)?.[1]) } : {}
}

/** An offset from UTC as `+02:00`. It is written as `+02:00`, `+0200`, `+2:00` or `Z`. Places have -12:00 to +14:00. */
export function offset(value: string | undefined): string | undefined {
  if (value === 'Z') return '+00:00'
  const [, sign, hours = '', minutes] = /^([+-])(\d{1,2}):?([0-5]\d)$/.exec(value ?? '') ?? []
  return sign && Number(hours) <= 14 ? `${sign}${hours.padStart(2, '0')}:${minutes}` : undefined
}

/**
 * A coordinate in degrees; undefined if the side is missing, or contradicts a negative number.
 *
 * @param parts degrees, minutes and seconds. Some writers set the last two to 0/0 if the first has a fraction.
 */
export function degrees(parts: number[], side: string | undefined): number | undefined {
  const [whole, minutes = 0, seconds = 0] = parts
  if (whole === undefined || Number.isNaN(whole) || !side) return undefined
  const isNegative = parts.some((part) => part < 0)
  const isBehind = /[SW]/i.test(side)
  if (isNegative && !isBehind) return undefined
  const value = Math.abs(whole) + Math.abs(finite(minutes)) / 60 + Math.abs(finite(seconds)) / 3600
  return isBehind ? 0 - value : value
}

const finite = (value: number) => (Number.isFinite(value) ? value : 0)

/** A location is both numbers, or none. */
export function location(latitude: number | undefined, longitude: number | undefined) {
  const found = { latitude: within(latitude, -90, 90), longitude: within(longitude, -180, 180) }
  return found.latitude === undefined || found.longitude === undefined ? {} : found
}

/**
 * An altitude in metres.
 *
 * @param reference odd if it is below (CIPA DC-008-2023, GPSAltitudeRef): 1 for the sea level or the ellipsoid, 3 for
 * the sea level. Some writers add a minus sign too.
 */
export const height = (metres: number | undefined, reference: number) =>
  metres === undefined
    ? undefined
    : within(reference % 2 === 1 ? 0 - Math.abs(metres) : metres, -12_000, 1_000_000)
