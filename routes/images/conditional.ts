import type { IncomingHttpHeaders } from 'node:http'
import type { ByteRange } from '../../schemas/byte-range.ts'
import { PreconditionFailed } from '../../services/errors.ts'
import type { Representation } from '../../services/images/representation.ts'

/**
 * Whether the client already has the image, so that the response is 304. The conditions are evaluated in the order of
 * RFC 9110 §13.2.2. `Cache-Control: no-cache` does not change them: it is an instruction for caches.
 *
 * @throws {PreconditionFailed}
 */
export function isFresh(headers: IncomingHttpHeaders, image: Representation): boolean {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers
  if (ifMatch !== undefined) {
    if (!listsStrong(ifMatch, image.etag)) throw new PreconditionFailed()
  } else {
    const unmodifiedSince = parseHttpDate(headers['if-unmodified-since'])
    if (unmodifiedSince !== undefined && isModifiedSince(image, unmodifiedSince))
      throw new PreconditionFailed()
  }
  if (ifNoneMatch !== undefined) return listsWeak(ifNoneMatch, image.etag)
  const modifiedSince = parseHttpDate(headers['if-modified-since'])
  return modifiedSince !== undefined && !isModifiedSince(image, modifiedSince)
}

/**
 * The range that a GET requests (RFC 9110 §14.1.2). It is undefined if the response is the whole image: without a
 * Range, with an If-Range for other bytes (§13.1.5), with several ranges, and with a Range that cannot be parsed
 * (§14.2).
 */
export function rangeOf(
  headers: IncomingHttpHeaders,
  image: Representation,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  if (headers.range === undefined || !allowsRange(headers['if-range'], image)) return undefined
  const [, first, last, suffix] = /^bytes= *(?:(\d+)-(\d*)|-(\d+))$/i.exec(headers.range) ?? []
  if (first === undefined && suffix === undefined) return undefined
  const start = suffix ? Math.max(size - Number(suffix), 0) : Number(first)
  const end = last ? Math.min(Number(last), size - 1) : size - 1
  if (last && Number(last) < start) return undefined
  return start < size ? { start, end } : 'unsatisfiable'
}

/** Whether If-Range allows a range. A date counts only for the original, whose bytes never change (§8.8.2.2). */
function allowsRange(condition: string | string[] | undefined, image: Representation) {
  if (condition === undefined || condition === image.etag) return true
  return image.isOriginal && condition === image.receivedAt.toUTCString()
}

// `Last-Modified` has no milliseconds.
const isModifiedSince = ({ receivedAt }: Representation, time: number) =>
  Math.floor(receivedAt.getTime() / 1000) * 1000 > time

/** Strong comparison with a list of entity tags, as If-Match requires (RFC 9110 §13.1.1). */
const listsStrong = (list: string, etag: string) => list === etag || tagsOf(list).some(isTag(etag))

/** Weak comparison with a list of entity tags, as If-None-Match requires (RFC 9110 §13.1.2). */
const listsWeak = (list: string, etag: string) =>
  list === etag || tagsOf(list).some((tag) => isTag(etag)(tag.replace(/^W\//, '')))

const isTag = (etag: string) => (tag: string) => tag === etag || tag === '*'

/** The members of a list. Their entity tags may contain commas, ours do not: a part of another tag is never equal. */
const tagsOf = (list: string) => list.split(',').map((tag) => tag.trim())

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)'
const LONG_DAY = '(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)'
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)'
const TIME = '\\d\\d:\\d\\d:\\d\\d'
// IMF-fixdate, and the two obsolete formats that a recipient must accept (RFC 9110 §5.6.7).
const HTTP_DATES = [
  new RegExp(`^${DAY}, \\d\\d ${MONTH} \\d{4} ${TIME} GMT$`),
  new RegExp(`^${LONG_DAY}, \\d\\d-${MONTH}-\\d\\d ${TIME} GMT$`),
  new RegExp(`^${DAY} ${MONTH} [ \\d]\\d ${TIME} \\d{4}$`),
]

/** Milliseconds since 1970; undefined if there is no date, or if HTTP does not allow its format: then it is ignored. */
function parseHttpDate(text: string | undefined): number | undefined {
  if (text === undefined || !HTTP_DATES.some((format) => format.test(text))) return undefined
  const time = Date.parse(text.endsWith(' GMT') ? text : `${text} GMT`)
  return Number.isNaN(time) ? undefined : time
}
