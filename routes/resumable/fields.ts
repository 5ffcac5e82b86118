import type { FastifyReply, FastifyRequest } from 'fastify'
import { parseItem } from 'structured-headers'
import { InvalidRequest, UnsupportedTusVersion } from '../../services/errors.ts'
import type { ContentDigest } from '../../services/uploads/resumable/intake.ts'
import type { ResumableRequest, UploadState } from '../../services/uploads/resumable/upload.ts'

/** tus 1.0.0 (https://tus.io/protocols/resumable-upload). */
export const TUS_VERSION = '1.0.0'
/** draft-ietf-httpbis-resumable-upload, "Draft Version Identification". */
export const INTEROP_VERSION = '8'

export const TUS_EXTENSIONS =
  'creation,creation-with-upload,creation-defer-length,expiration,checksum,termination'
/** The algorithms of Upload-Checksum, by their names in `node:crypto`. */
export const CHECKSUMS = ['sha1', 'sha256', 'sha512', 'md5']

// A message of 1000 characters may take 5400 bytes of Base64.
const MAX_METADATA = 8192

export type Protocol = ResumableRequest['method']

/** A header field as one text. */
export const field = ({ headers }: FastifyRequest, name: string): string | undefined => {
  const value = headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

/**
 * The protocol of a request. A request that only reads or deletes an upload needs no field; then it is the draft.
 *
 * @throws {UnsupportedTusVersion}
 */
export function protocolOf(request: FastifyRequest): Protocol {
  const version = field(request, 'tus-resumable')
  if (version === undefined) return 'draft'
  if (version !== TUS_VERSION) throw new UnsupportedTusVersion()
  return 'tus'
}

/** A structured field (RFC 9651). Another value is ignored, as the draft requires. */
function item(request: FastifyRequest, name: string): unknown {
  try {
    return parseItem(field(request, name) ?? '')[0]
  } catch {
    return undefined
  }
}

/** Upload-Complete of the draft. */
export function isComplete(request: FastifyRequest): boolean | undefined {
  const value = item(request, 'upload-complete')
  return typeof value === 'boolean' ? value : undefined
}

/** A number of bytes. @throws {InvalidRequest} tus: it is not a number */
export function bytesIn(request: FastifyRequest, name: string, protocol: Protocol): number | undefined {
  const text = field(request, name)
  if (text === undefined) return undefined
  if (protocol === 'draft') {
    const value = item(request, name)
    return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : undefined
  }
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new InvalidRequest({ detail: `Send ${name} as a number of bytes with at most 15 digits.` })
}

/** The size of the body; undefined if it is not known before its end. */
export function bodySize(request: FastifyRequest): number | undefined {
  if (request.headers['transfer-encoding'] !== undefined) return undefined
  return Number(request.headers['content-length'] ?? 0)
}

/** Upload-Checksum of tus. @throws {InvalidRequest} */
export function checksumIn(request: FastifyRequest): ContentDigest[] {
  const text = field(request, 'upload-checksum')
  if (text === undefined) return []
  const [, algorithm = '', value = ''] = /^(\S+) ([A-Za-z0-9+/]+=*)$/.exec(text) ?? []
  if (CHECKSUMS.includes(algorithm)) return [{ algorithm, value: Buffer.from(value, 'base64') }]
  throw new InvalidRequest({
    detail: `Send Upload-Checksum with one of ${CHECKSUMS.join(', ')}, a blank and the checksum in Base64.`,
  })
}

/** The file name, the sender and the message, as the sender gave them. */
export interface FileInfo {
  name: string
  sender: string | undefined
  message: string | undefined
  metadata: string | undefined
}

/** Upload-Metadata of tus; if there is none, Content-Disposition and `name`. @throws {InvalidRequest} */
export function fileInfoIn(request: FastifyRequest, queryName: string | undefined): FileInfo {
  const metadata = field(request, 'upload-metadata')
  const values = readMetadata(metadata ?? '')
  return {
    name: values.get('filename') ?? values.get('name') ?? request.fileName() ?? queryName ?? '',
    sender: values.get('sender') || undefined,
    message: values.get('message') || undefined,
    metadata: metadata || undefined,
  }
}

function readMetadata(text: string): Map<string, string> {
  const values = new Map<string, string>()
  if (text.length > MAX_METADATA) throw invalidMetadata()
  for (const pair of text.split(',').map((each) => each.trim())) {
    if (!pair) continue
    const [, key, value = ''] = /^([\x21-\x2b\x2d-\x7e]+)(?: +([A-Za-z0-9+/]*={0,2}))?$/.exec(pair) ?? []
    if (!key || values.has(key)) throw invalidMetadata()
    values.set(key, Buffer.from(value, 'base64').toString())
  }
  return values
}

const invalidMetadata = () =>
  new InvalidRequest({
    detail: `Send Upload-Metadata as pairs of a unique key and a value in Base64, separated by commas, with at most ${MAX_METADATA} bytes.`,
  })

/** Sets the fields that describe the state of an upload, by the rules of the protocol. */
export function setStateFields(
  reply: FastifyReply,
  { offset, length, metadata, expiresAt, answer }: UploadState,
  { protocol, maxFileSize }: { protocol: Protocol; maxFileSize: number },
) {
  reply.headers({
    'Upload-Offset': offset,
    'Upload-Expires': expiresAt.toUTCString(),
    'Cache-Control': 'no-store',
    ...(length !== null && { 'Upload-Length': length }),
  })
  if (protocol === 'tus') {
    if (length === null) reply.header('Upload-Defer-Length', '1')
    if (metadata) reply.header('Upload-Metadata', metadata)
  } else {
    reply.header('Upload-Complete', answer ? '?1' : '?0')
    reply.header('Upload-Limit', limits(maxFileSize, (expiresAt.getTime() - Date.now()) / 1000))
  }
}

/** Upload-Limit of the draft. */
export const limits = (maxFileSize: number, seconds: number) =>
  `max-size=${maxFileSize}, max-age=${Math.max(0, Math.floor(seconds))}`
