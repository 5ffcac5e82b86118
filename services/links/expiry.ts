import { type Duration, parse, pattern } from 'iso8601-duration'
import { Format } from 'typebox/format'
import { InvalidExpiry } from '../errors.ts'

const SHORTEST_MS = 30_000
// RFC 3339 has no year 10000.
const LATEST = Date.parse('9999-12-31T23:59:59.999Z')

const wholeDuration = new RegExp(`^${pattern.source}$`)

/**
 * When a link expires: `sinceNow` (an ISO 8601 duration) from now where it parses, else at `timeExact` (RFC 3339).
 *
 * @param now milliseconds since 1970
 * @throws {InvalidExpiry} neither can be used, or the instant is less than 30 s ahead or after the year 9999
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
    throw new InvalidExpiry({ detail: 'A link must be open for 30 s at least. Choose a later time.' })
  }
  return new Date(instant)
}

function invalid(sinceNow?: string, timeExact?: string) {
  const wrong = []
  if (sinceNow !== undefined) {
    wrong.push(
      'sinceNow is no ISO 8601 duration that can be used: it looks like "PT1H" or "P1M2DT12H", is not negative, ' +
        'and has a fraction only on the last of its hours, minutes and seconds.',
    )
  }
  if (timeExact !== undefined) {
    wrong.push('timeExact is no RFC 3339 instant: it looks like "2026-12-01T00:00:00Z", with a time zone.')
  }
  return wrong.length > 0 ? { detail: wrong.join(' ') } : {}
}

function parseDuration(text: string): Duration | undefined {
  // The library looks for a duration anywhere in the text; ISO 8601 wants a unit after P and after T.
  if (!wholeDuration.test(text) || text.endsWith('T')) return undefined
  try {
    return parse(text)
  } catch {
    return undefined
  }
}

/**
 * Adds a duration to an instant on the calendar in UTC (the library's own `end` counts in local time). A day that the
 * month does not have becomes its last one, as in `Temporal`: 31 January and a month is 28 or 29 February.
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

function parseInstant(text: string | undefined) {
  if (text === undefined || !Format.IsDateTime(text)) return undefined
  // A Date can't tell a leap second (RFC 3339 §5.7). It is read as the second before, as `Temporal` does.
  const instant = Date.parse(text.replace(':60', ':59'))
  // What is left is no RFC 3339, such as the suffixes of RFC 9557, which the check lets pass.
  return Number.isNaN(instant) ? undefined : instant
}
