import { type Static, Type } from 'typebox'
import { Id } from './ids.ts'
import { ShownMetadata } from './images.ts'

/** Why a part is not taken in; each with what it means. */
export const rejectionReasons = {
  not_an_image: 'the bytes are no image of a known format',
  not_accepted: 'the image is of a format that is not in ACCEPT',
  empty: 'the part has no bytes',
  too_large: 'the part has more bytes than MAX_FILE_SIZE',
  too_many_files: 'the request has more parts than MAX_FILES',
  digest_mismatch: 'the bytes are not those of the Content-Digest or Repr-Digest of the part',
  malformed:
    'the headers of the part are not those of multipart/form-data (RFC 7578 §4.2), or its digest can not be read',
  unsupported_encoding:
    'the part has a Content-Transfer-Encoding such as base64; the bytes must be sent as they are (RFC 7578 §4.7)',
  incomplete: 'the request ended in the middle of the part',
  insufficient_storage: 'there is no room left to store the part',
  link_used_up: 'the link has reached its limit of images or bytes',
  link_expired: 'the link expired before the part began',
  link_revoked: 'the link was revoked before the part was complete',
} as const

export const RejectionReason = Type.Enum(Object.keys(rejectionReasons) as (keyof typeof rejectionReasons)[], {
  description: Object.entries(rejectionReasons)
    .map(([reason, meaning]) => `\`${reason}\`: ${meaning}`)
    .join('; '),
})
export type RejectionReason = Static<typeof RejectionReason>

const name = Type.String({
  description: "the sender's file name, else the name of the form's field; empty where the part has neither",
})

export const Processed = Type.Object(
  {
    name,
    id: Id,
    hash: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the bytes, in hex' }),
    size: Type.Integer({ minimum: 1, description: 'bytes' }),
    duplicate: Type.Boolean({ description: 'the image was known before; `id` is the known one' }),
    status: Type.Enum(['pending', 'ready', 'corrupt', 'failed'], {
      description:
        'ready: its metadata is known; pending: a worker will look for more of it, and verify it; of a duplicate also ' +
        'corrupt: its pixels can not be decoded; failed: it could not be analysed',
    }),
    metadata: ShownMetadata,
  },
  { $id: 'Processed' },
)
export type Processed = Static<typeof Processed>

export const Rejected = Type.Object({ name, reason: RejectionReason }, { $id: 'Rejected' })
export type Rejected = Static<typeof Rejected>

export const UploadAnswer = Type.Object(
  { processed: Type.Array(Processed), rejected: Type.Array(Type.Ref('Rejected')) },
  { $id: 'UploadAnswer', description: 'each list in the order of the parts' },
)
export type UploadAnswer = Static<typeof UploadAnswer>

/** The parts of an upload, as the contract shows them; what they are is found out while they stream by. */
export const UploadBody = Type.Object(
  {
    image: Type.Array(Type.Unsafe<string>({ type: 'string', format: 'binary' }), {
      minItems: 1,
      description: 'one or more images; the name of the field does not matter',
    }),
  },
  { $id: 'UploadBody' },
)
