import type { Rejected, RejectionReason } from '../schemas/uploads.ts'

/**
 * An error with an HTTP response (RFC 9457). `name`, `status` and `title` belong to the kind of error. `message` is the
 * detail of this case and says what to do. `plugins/errors.ts` turns it into problem details.
 */
export abstract class Problem extends Error {
  abstract readonly status: number
  abstract readonly title: string
  /** The URI of the kind of error, if a standard defines it. Otherwise it is made from the name. */
  declare readonly type?: string
  /** Further members of the problem details (RFC 9457 §3.2). */
  declare readonly members?: Record<string, number>
  /** Only for an upload of which no part was accepted: the reason for each part. */
  declare readonly rejected?: Rejected[]
  /** Only for a link that is not open yet: the time from which it is open. */
  declare readonly opensOn?: Date
}

/** One part of an upload is rejected. The other parts of the request may still be accepted. */
export class Rejection extends Error {
  override name = 'Rejection'
  readonly reason: RejectionReason

  constructor(reason: RejectionReason, options?: ErrorOptions) {
    super(reason, options)
    this.reason = reason
  }
}

interface ProblemOptions {
  detail?: string
  rejected?: Rejected[]
  opensOn?: Date
}

/** Defines a kind of problem. `message` is the detail unless the constructor gets another one. */
const problem = (name: string, status: number, title: string, message: string) =>
  class extends Problem {
    override readonly name = name
    readonly status = status
    readonly title = title
    declare readonly rejected?: Rejected[]
    declare readonly type?: string
    declare readonly members?: Record<string, number>
    declare readonly opensOn?: Date

    constructor({ detail = message, rejected, opensOn }: ProblemOptions = {}) {
      const { stackTraceLimit } = Error
      // The stack of a refusal is never logged, and takes a tenth of its time.
      if (status < 500 || status === 503) Error.stackTraceLimit = 0
      super(detail)
      Error.stackTraceLimit = stackTraceLimit
      if (rejected) Object.assign(this, { rejected })
      if (opensOn) Object.assign(this, { opensOn })
    }
  }

const ASK_FOR_LINK = 'Ask the person who gave you the link for a new one.'

export const Unauthorized = problem(
  'Unauthorized',
  401,
  'Missing or invalid access token',
  'Send a valid access token as "X-Access-Token: …" or "Authorization: Bearer …".',
)
/** A wrong token gets the same response as a missing one. Only wrong tokens are counted as failed look-ups. */
export class WrongToken extends Unauthorized {}
export const MissingScope = problem(
  'MissingScope',
  403,
  'The access token does not allow this call',
  'Send a token that has the scope of this call, such as links:write. The root token has all scopes.',
)
export const TokenNotFound = problem(
  'TokenNotFound',
  404,
  'Token not found',
  'Check the id. GET /admin/tokens lists the tokens.',
)
export const TokenRevoked = problem(
  'TokenRevoked',
  410,
  'The token was revoked',
  'A revoked token cannot be used again. Create a new one.',
)
export const TooManyTokens = problem(
  'TooManyTokens',
  400,
  'More than one access token',
  'Send one access token. X-Access-Token and Authorization must not contain different tokens.',
)
export const ForeignOrigin = problem(
  'ForeignOrigin',
  403,
  'The request comes from another page',
  'The cookie of the console is accepted only from its own page. Programs send the access token. Behind a proxy, set PUBLIC_URL.',
)
export const NotFound = problem(
  'NotFound',
  404,
  'Not found',
  'This path does not exist. /docs lists all calls.',
)
export const MethodNotAllowed = problem(
  'MethodNotAllowed',
  405,
  'Method not allowed',
  'Use one of the methods in Allow.',
)
export const ExpectationFailed = problem(
  'ExpectationFailed',
  417,
  'Unknown expectation',
  'Send "Expect: 100-continue" or no Expect header field.',
)
export const UnsupportedContentEncoding = problem(
  'UnsupportedContentEncoding',
  415,
  'Unsupported content encoding',
  'Send the body without compression, and without Content-Encoding.',
)
export const InvalidRequest = problem(
  'InvalidRequest',
  400,
  'Invalid request',
  '/docs describes the parameters and the body of this call.',
)
export const RequestTimeout = problem(
  'RequestTimeout',
  408,
  'The request was sent too slowly',
  'Send the request again on a new connection.',
)
export const HeadersTooLarge = problem(
  'HeadersTooLarge',
  431,
  'The header fields are too large',
  'Send fewer or shorter header fields, or a shorter URL.',
)
export const TooManyFailedLookups = problem(
  'TooManyFailedLookups',
  429,
  'Too many failed look-ups from this address',
  'This address sent too many unknown ids or wrong access tokens. Wait for the number of seconds in Retry-After.',
)
export const UnsupportedMediaType = problem(
  'UnsupportedMediaType',
  415,
  'Unsupported media type',
  'Send JSON with Content-Type: application/json.',
)
export const InternalError = problem(
  'InternalError',
  500,
  'Internal error',
  'The error was logged. Try again later.',
)
export const Unavailable = problem(
  'Unavailable',
  503,
  'The service is not available',
  'Try again in a few seconds.',
)

export const Busy = problem('Busy', 503, 'The service is busy', 'Try again in a few seconds.')

export const TooManyUploads = problem(
  'TooManyUploads',
  429,
  'Too many uploads at the same time',
  'This link or this address has too many unfinished uploads. Finish one, or try again in a few seconds.',
)

export const InvalidExpiry = problem(
  'InvalidExpiry',
  400,
  'Invalid expiry',
  'Send "sinceNow" with an ISO 8601 duration such as "PT1H", or "timeExact" with an RFC 3339 time such as "2026-12-01T00:00:00Z".',
)
export const UnknownRegion = problem(
  'UnknownRegion',
  400,
  'Unknown region',
  'Send the name of a region of this service, or no region.',
)
export const InvalidCursor = problem(
  'InvalidCursor',
  400,
  'Invalid cursor',
  'Send the unchanged nextCursor of the previous page, or no cursor for the first page.',
)
export const InvalidFilter = problem(
  'InvalidFilter',
  400,
  'Invalid image filter',
  'The start of a time range must be before its end. bbox is west,south,east,north in degrees.',
)
export const LinkNotFound = problem('LinkNotFound', 404, 'Link not found', `Check the URL. ${ASK_FOR_LINK}`)
export const LinkExpired = problem('LinkExpired', 410, 'The link has expired', ASK_FOR_LINK)
export const LinkRevoked = problem('LinkRevoked', 410, 'The link was revoked', ASK_FOR_LINK)
export const LinkNotOpen = problem(
  'LinkNotOpen',
  403,
  'The link is not open yet',
  'Try again when the link is open. Ask the person who gave you the link if you do not know when.',
)
export const PasswordRequired = problem(
  'PasswordRequired',
  401,
  'The link has a password',
  'Send the password as "Authorization: Basic …" with any user name. In a browser, open the link and enter the password.',
)
export const WrongPassword = problem(
  'WrongPassword',
  401,
  'Wrong password',
  'Ask the person who gave you the link for the password.',
)
export const SenderRequired = problem(
  'SenderRequired',
  400,
  "The link requires the sender's name",
  'Send "sender" as a text field before the files, as ?sender=…, or in Upload-Metadata.',
)
export const InvalidSender = problem(
  'InvalidSender',
  400,
  'Invalid sender or message',
  'Send a sender of at most 100 and a message of at most 1000 characters.',
)
export const LinkUsedUp = problem('LinkUsedUp', 410, 'The link has reached its limit', ASK_FOR_LINK)

export const NotMultipart = problem(
  'NotMultipart',
  415,
  'The request is neither multipart/form-data nor an image',
  'Send each image as a part of multipart/form-data: curl -F image=@picture.jpg URL. Or send one image as the body, with Content-Type: image/jpeg or application/octet-stream.',
)
export const MalformedMultipart = problem(
  'MalformedMultipart',
  400,
  'Malformed multipart/form-data',
  'Content-Type must name the boundary. The boundary must be before each part and after the last part. Each part needs a name in its Content-Disposition (RFC 7578). A digest is optional, but must be valid (RFC 9530).',
)
export const UnsupportedTransferEncoding = problem(
  'UnsupportedTransferEncoding',
  415,
  'Unsupported encoding of a part',
  'Send the bytes of the images unchanged, without a Content-Transfer-Encoding such as base64.',
)
export const NoImage = problem(
  'NoImage',
  415,
  'The request has no image',
  'Send at least one part, or a body, whose bytes are an image in a supported format.',
)
export const NotAccepted = problem(
  'NotAccepted',
  415,
  'Image format not accepted',
  'This service accepts only some image formats. Send the images in another format.',
)
export const TooLarge = problem('TooLarge', 413, 'The request is too large', 'Send smaller files.')
export const DigestMismatch = problem(
  'DigestMismatch',
  400,
  'The digest does not match',
  'The part was changed in transit, or its Content-Digest or Repr-Digest is wrong. Send the part again.',
)
export const UploadNotFound = problem(
  'UploadNotFound',
  404,
  'Upload not found',
  'It does not exist, was deleted or has expired. Start a new upload.',
)
export const UploadGone = problem(
  'UploadGone',
  410,
  'The upload is lost',
  'The service has lost bytes of this upload. Start a new upload.',
)
export const UploadTakenOver = problem(
  'UploadTakenOver',
  409,
  'Another request continues this upload',
  'Only one request can append to an upload. Read the current offset with HEAD before you continue.',
)
export const UploadBusy = problem(
  'UploadBusy',
  423,
  'The upload is being completed',
  'All bytes have arrived, and the image is being checked. Read the upload again in a few seconds.',
)
/** draft-ietf-httpbis-resumable-upload, "Mismatching Offset"; also for tus. */
export class MismatchingUploadOffset extends problem(
  'MismatchingUploadOffset',
  409,
  'The offset does not match',
  'Send the bytes that begin at the offset of the upload. HEAD returns it.',
) {
  override readonly type = 'https://iana.org/assignments/http-problem-types#mismatching-upload-offset'
  override readonly members: Record<string, number>

  constructor(offsets?: { expected: number; provided: number }) {
    super()
    this.members = offsets ? { 'expected-offset': offsets.expected, 'provided-offset': offsets.provided } : {}
  }
}
/** The name is of draft-ietf-httpbis-resumable-upload-10; also for tus. */
export class CompletedUpload extends problem(
  'CompletedUpload',
  400,
  'The upload is complete',
  'No bytes can be added. GET returns its result.',
) {
  override readonly type = 'https://iana.org/assignments/http-problem-types#completed-upload'
}
/** draft-ietf-httpbis-resumable-upload, "Inconsistent Length"; also for tus. */
export class InconsistentUploadLength extends problem(
  'InconsistentUploadLength',
  400,
  'The length is inconsistent',
  'The length of an upload must not change, and the bytes must not exceed it. Check Upload-Length, Upload-Offset and Content-Length.',
) {
  override readonly type = 'https://iana.org/assignments/http-problem-types#inconsistent-upload-length'
}
/** The status is that of the checksum extension of tus 1.0.0. */
export const ChecksumMismatch = problem(
  'ChecksumMismatch',
  460,
  'The checksum does not match',
  'The bytes of this request were changed in transit and were not appended. Send them again.',
)
export const UnsupportedTusVersion = problem(
  'UnsupportedTusVersion',
  412,
  'Unsupported version of tus',
  'Send Tus-Resumable: 1.0.0.',
)

export const InsufficientStorage = problem(
  'InsufficientStorage',
  507,
  'Not enough storage',
  'The last part was not stored. Try again later.',
)

export const InvalidVariant = problem(
  'InvalidVariant',
  400,
  'Invalid variant',
  'Request one of the sizes in VARIANT_SIZES, or sign the URL. docs/variants.md describes how to sign.',
)
export const NotAcceptable = problem(
  'NotAcceptable',
  406,
  'No accepted format',
  'Accept must allow image/avif, image/webp, image/jpeg or image/png. Or name the format in the URL: format=jpeg.',
)
export const ImageNotShowable = problem(
  'ImageNotShowable',
  406,
  'The image cannot be shown',
  'There is no decoder for its format. Request the image without parameters.',
)
export const ImageNotDecodable = problem(
  'ImageNotDecodable',
  422,
  'The image cannot be decoded',
  'It is damaged, or exceeds a limit. Request the image without parameters.',
)
export const VariantFailed = problem(
  'VariantFailed',
  503,
  'The variant could not be made',
  'The process that made it has ended. Try again in a few seconds.',
)
export const InvalidSignature = problem(
  'InvalidSignature',
  400,
  'Invalid signature',
  'The signature does not match the path and the parameters in alphabetical order, or VARIANT_KEY is another key or not set. docs/variants.md describes how to sign.',
)
export const ImageNotFound = problem('ImageNotFound', 404, 'Image not found', 'Check the id.')
export const ImageGone = problem(
  'ImageGone',
  410,
  'The image is gone',
  'It was removed, its retention period has ended, or it is not an image. This id will not be used again.',
)
export const ImageDamaged = problem(
  'ImageDamaged',
  410,
  'The image is damaged',
  'It cannot be decoded and is not served. Upload the original file again.',
)
export const ImageNotVerified = problem(
  'ImageNotVerified',
  404,
  'The image is not verified',
  'It is served after it has been decoded. Images that cannot be decoded are not served here.',
)
export const MetadataNotRemovable = problem(
  'MetadataNotRemovable',
  406,
  'The metadata cannot be removed',
  'Metadata can be removed from complete JPEG, PNG and WebP files. Other formats would have to be encoded again.',
)
export const PreconditionFailed = problem(
  'PreconditionFailed',
  412,
  'If-Match does not match',
  'Send the current ETag of the image.',
)
export const RangeNotSatisfiable = problem(
  'RangeNotSatisfiable',
  416,
  'The range is outside the image',
  'Content-Range states the size of the image. Request bytes within it.',
)
