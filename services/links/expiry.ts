import { type Duration, parse, pattern } from 'iso8601-duration'
import { Format } from 'typebox/format'
import { InvalidExpiry } from '../errors.ts'

const SHORTEST_MS = 30_000
// RFC 3339 has no year 10000.
const LATEST = Date.parse('9999-12-31T23:59:59.999Z')

const wholeDuration = new RegExp(`^${pattern.source}$`)

/**
 * The expiry of a link: `sinceNow` (an ISO 8601 duration) from now if it is valid, otherwise `timeExact` (RFC 3339).
 *
 * @param now milliseconds since 1970
 * @throws {InvalidExpiry} if neither is valid, or if the expiry is in less than 30 s or after the year 9999
 */
export function expiryOf(
  { sinceNow, timeExact }: { sinceNow?: string; timeExact?: string },
  now: number,
): Date {
  const duration = sinceNow === undefined ? undefined : parseDuration(sinceNow)
  const instant = duration ? add(duration, now) : parseInstant(timeExact)
  if (instant === undefined) throw new InvalidExpiry(invalid(sinceNow, timeExact))
  if (!(instant <= LATEST))
    throw new InvalidExpiry({ detail: 'The link would expire after the year 9999. Choose an earlier time.' })
  if (instant < now + SHORTEST_MS) {
    throw new InvalidExpiry({ detail: 'A link must be open for at least 30 s. Choose a later time.' })
  }
  return new Date(instant)
}

function invalid(sinceNow?: string, timeExact?: string) {
  const wrong = []
  if (sinceNow !== undefined) {
    wrong.push(
      'sinceNow must be an ISO 8601 duration such as "PT1H" or "P1M2DT12H". It must not be negative, and only the last of ' +
        'hours, minutes and seconds may have a fraction.',
    )
  }
  if (timeExact !== undefined) {
    wrong.push(
      'timeExact must be an RFC 3339 date and time with a time zone, such as "2026-12-01T00:00:00Z".',
    )
  }
  return wrong.length > 0 ? { detail: wrong.join(' ') } : {}
}

/** The instant after an ISO 8601 duration, in the UTC calendar; undefined if the duration is not valid. */
export function addDuration(text: string, now: number): number | undefined {
  const duration = parseDuration(text)
  return duration && add(duration, now)
}

function parseDuration(text: string): Duration | undefined {
  // The library finds a duration anywhere in the text. ISO 8601 requires a unit after P and after T.
  if (!wholeDuration.test(text) || text.endsWith('T')) return undefined
  try {
    return parse(text)
  } catch {
    return undefined
  }
}

/**
 * Adds a duration to an instant in the UTC calendar (the library's own `end` uses local time). If the month has no such
 * day, its last day is used, like in `Temporal`: 31 January plus a month is 28 or 29 February.
 */
function add(
  { years = 0, months = 0, weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0 }: Duration,
  now: number,
) {
  const date = new Date(now)
  const day = date.getUTCDate()
  date.setUTCFullYear(date.getUTCFullYear() + years, date.getUTCMonth() + months, 1)
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
  date.setUTCDate(Math.min(day, lastDay) + weeks * 7 + days)
  return date.getTime() + Math.round(((hours * 60 + minutes) * 60 + seconds) * 1000)
}

/** @throws {InvalidExpiry} the text is not an RFC 3339 time up to the year 9999 */
export function instantOf(text: string): Date {
  const instant = parseInstant(text)
  if (instant !== undefined && instant <= LATEST && instant >= 0) return new Date(instant)
  throw new InvalidExpiry({
    detail: 'opensOn must be an RFC 3339 date and time with a time zone, such as "2026-12-01T00:00:00Z".',
  })
}

function parseInstant(text: string | undefined) {
  if (text === undefined || !Format.IsDateTime(text)) return undefined
  // A Date has no leap seconds (RFC 3339 §5.7). The second before is used, like in `Temporal`.
  const instant = Date.parse(text.replace(':60', ':59'))
  // The check accepts more than RFC 3339, such as the suffixes of RFC 9557.
  return Number.isNaN(instant) ? undefined : instant
}
