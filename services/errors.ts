import type { Rejected, RejectionReason } from '../schemas/uploads.ts'

/**
 * An error that has an answer: its name, status and title are of its kind, `message` is of this very case and says
 * what to do. The handler in `plugins/errors.ts` makes problem details (RFC 9457) of it.
 */
export abstract class Problem extends Error {
  abstract readonly status: number
  abstract readonly title: string
  /** Of an upload: why no part of it was taken in. */
  declare readonly rejected?: Rejected[]
}

/** A part is not taken in. It is no problem of the request: other parts may be. */
export class Rejection extends Error {
  override name = 'Rejection'
  readonly reason: RejectionReason

  constructor(reason: RejectionReason, options?: ErrorOptions) {
    super(reason, options)
    this.reason = reason
  }
}

const problem = (name: string, status: number, title: string, message: string) =>
  class extends Problem {
    override readonly name = name
    readonly status = status
    readonly title = title
    declare readonly rejected?: Rejected[]

    constructor({ detail = message, rejected }: { detail?: string; rejected?: Rejected[] } = {}) {
      super(detail)
      if (rejected) Object.assign(this, { rejected })
    }
  }

const ASK_FOR_LINK = 'Ask whoever gave you the link for a new one.'

export const Unauthorized = problem(
  'Unauthorized',
  401,
  'An access token is needed',
  'Send the access token as "X-Access-Token: …" or "Authorization: Bearer …".',
)
/** A token that is not valid is answered as one that is not there. */
export class WrongToken extends Unauthorized {}
export const TooManyTokens = problem(
  'TooManyTokens',
  400,
  'More than one access token',
  'Send one access token, either as X-Access-Token or as Authorization.',
)
export const NotFound = problem(
  'NotFound',
  404,
  'Not found',
  'There is nothing here. /docs lists what there is.',
)
export const InvalidRequest = problem(
  'InvalidRequest',
  400,
  'The request is not as it should be',
  '/docs tells what this call takes.',
)
export const RequestTimeout = problem(
  'RequestTimeout',
  408,
  'The request took too long to come',
  'Send it again, on a new connection.',
)
export const HeadersTooLarge = problem(
  'HeadersTooLarge',
  431,
  'The header fields are too large',
  'Send fewer or shorter ones; the URL counts too.',
)
export const TooManyFailedLookups = problem(
  'TooManyFailedLookups',
  429,
  'Too many unknown ids or wrong tokens from this address',
  'Retry-After tells in how many seconds you may go on.',
)
export const UnsupportedMediaType = problem(
  'UnsupportedMediaType',
  415,
  'The media type is not one that this call takes',
  'Send JSON, with Content-Type: application/json.',
)
export const InternalError = problem(
  'InternalError',
  500,
  'Something went wrong in the service',
  'It was logged. Try again later.',
)
export const Unavailable = problem(
  'Unavailable',
  503,
  'The service is not ready',
  'Try again in a few seconds.',
)

export const InvalidExpiry = problem(
  'InvalidExpiry',
  400,
  'No usable time for the link to expire',
  'Send "sinceNow" with an ISO 8601 duration such as "PT1H", or "timeExact" with an RFC 3339 instant such as "2026-12-01T00:00:00Z".',
)
export const UnknownRegion = problem(
  'UnknownRegion',
  400,
  'There is no such region',
  'Name one of the regions of this service, or none.',
)
export const InvalidCursor = problem(
  'InvalidCursor',
  400,
  'The cursor is not one of this list',
  'Send the nextCursor of the page before as it is, or no cursor for the first page.',
)
export const InvalidFilter = problem(
  'InvalidFilter',
  400,
  'The images that are asked for can not be',
  'The start of a range of time comes before its end, and bbox is west,south,east,north in degrees.',
)
export const LinkNotFound = problem(
  'LinkNotFound',
  404,
  'There is no such link',
  `Check the URL. ${ASK_FOR_LINK}`,
)
export const LinkExpired = problem('LinkExpired', 410, 'The link has expired', ASK_FOR_LINK)
export const LinkRevoked = problem('LinkRevoked', 410, 'The link has been revoked', ASK_FOR_LINK)
export const LinkUsedUp = problem('LinkUsedUp', 410, 'The link has taken in as much as it may', ASK_FOR_LINK)

export const NotMultipart = problem(
  'NotMultipart',
  415,
  'The request is not multipart/form-data',
  'Send the images as parts of multipart/form-data: curl -F image=@picture.jpg URL',
)
export const MalformedMultipart = problem(
  'MalformedMultipart',
  400,
  'The multipart/form-data is malformed',
  'Content-Type must name the boundary, and the body have it before each part and after the last. Each part needs a name in its Content-Disposition (RFC 7578); a digest is not needed, but must be readable (RFC 9530).',
)
export const NoImage = problem(
  'NoImage',
  415,
  'No part is an image',
  'Send at least one part whose bytes are an image.',
)
export const NotAccepted = problem(
  'NotAccepted',
  415,
  'No part is an image of a format that is taken in here',
  'Send images of another format: ACCEPT says which ones this service takes.',
)
export const TooLarge = problem('TooLarge', 413, 'Too large', 'Send smaller files.')
export const DigestMismatch = problem(
  'DigestMismatch',
  400,
  'The bytes are not those of the digest',
  'The part was changed on its way, or its Content-Digest is wrong. Send it again.',
)
export const InsufficientStorage = problem(
  'InsufficientStorage',
  507,
  'There is no room left to store the image',
  'Nothing of the last part was kept. Try again later.',
)

export const ImageNotFound = problem('ImageNotFound', 404, 'There is no such image', 'Check the id.')
export const ImageGone = problem(
  'ImageGone',
  410,
  'The image is gone',
  'It was removed, its time was up, or it turned out to be no image. It will not come back under this id.',
)
export const ImageDamaged = problem(
  'ImageDamaged',
  410,
  'The image is damaged',
  'Its bytes can not be decoded, so it is not served. Whoever has it should send it again from the original.',
)
export const MetadataNotRemovable = problem(
  'MetadataNotRemovable',
  406,
  'The image can not be served without its metadata',
  'It can be taken out of JPEG, PNG and WebP that are whole; anything else would have to be encoded anew.',
)
export const PreconditionFailed = problem(
  'PreconditionFailed',
  412,
  'The image is not the one of If-Match',
  'Its ETag tells which one it is.',
)
export const RangeNotSatisfiable = problem(
  'RangeNotSatisfiable',
  416,
  'The range lies outside of the image',
  'Content-Range tells the size; ask for bytes within it.',
)
