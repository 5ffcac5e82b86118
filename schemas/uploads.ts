import { type Static, Type } from 'typebox'
import { Id } from './ids.ts'
import { ShownMetadata } from './images.ts'

/** The reasons why a part is rejected, with their meanings. */
export const rejectionReasons = {
  not_an_image: 'the bytes are not an image of a supported format',
  not_accepted: 'the service or the link does not accept the format of the image',
  empty: 'the part has no bytes',
  too_large: 'the part is larger than MAX_FILE_SIZE or the limit of the link',
  too_many_files: 'the request has more parts than MAX_FILES',
  digest_mismatch: 'the Content-Digest or Repr-Digest of the part does not match its bytes',
  malformed:
    'the header fields of the part are not valid multipart/form-data (RFC 7578 §4.2), or its digest is not valid',
  unsupported_encoding:
    'the part has a Content-Transfer-Encoding such as base64; its bytes must be sent unchanged (RFC 7578 §4.7)',
  incomplete: 'the request ended within the part',
  insufficient_storage: 'there is not enough storage for the part',
  link_used_up: 'the link has reached its limit of images or bytes',
  link_expired: 'the link expired before the part began',
  link_revoked: 'the link was revoked before the part was complete',
  busy: 'too many bytes of unfinished uploads: send the part again later',
} as const

export const RejectionReason = Type.Enum(Object.keys(rejectionReasons) as (keyof typeof rejectionReasons)[], {
  description: Object.entries(rejectionReasons)
    .map(([reason, meaning]) => `\`${reason}\`: ${meaning}`)
    .join('; '),
})
export type RejectionReason = Static<typeof RejectionReason>

const name = Type.String({
  description: "The sender's file name, or else the name of the form's field; empty if the part has neither.",
})

export const Processed = Type.Object(
  {
    name,
    id: Id,
    hash: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the bytes, in hex' }),
    size: Type.Integer({ minimum: 1, description: 'Bytes.' }),
    duplicate: Type.Boolean({ description: 'The content was known; `id` is that of the known image.' }),
    status: Type.Enum(['pending', 'ready', 'corrupt', 'failed'], {
      description:
        'ready: the metadata is complete; pending: a worker completes the metadata and verifies the image. Only for a ' +
        'duplicate: corrupt, it cannot be decoded; failed, it could not be analysed',
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
  { $id: 'UploadAnswer', description: 'The result of each part; both lists are in the order of the parts.' },
)
export type UploadAnswer = Static<typeof UploadAnswer>

export const UploadQuery = Type.Object({
  name: Type.Optional(
    Type.String({
      description: 'The file name of an image that is the whole body. It is cut to 255 characters.',
    }),
  ),
  sender: Type.Optional(
    Type.String({
      description: "The sender's name, up to 100 characters. A form may have it as a text field.",
    }),
  ),
  message: Type.Optional(
    Type.String({ description: 'A message, up to 1000 characters. A form may have it as a text field.' }),
  ),
})

/** An image as the whole body, for the contract. It is not validated by this schema, because it is streamed. */
export const RawImage = Type.Unsafe<string>({ type: 'string', format: 'binary' })

/** The parts of an upload for the contract. They are not validated by this schema, because they are streamed. */
export const UploadBody = Type.Object(
  {
    sender: Type.Optional(
      Type.String({ description: "The sender's name, up to 100 characters, before the images." }),
    ),
    message: Type.Optional(
      Type.String({ description: 'A message, up to 1000 characters, before the images.' }),
    ),
    image: Type.Array(Type.Unsafe<string>({ type: 'string', format: 'binary' }), {
      minItems: 1,
      description: 'One or more images; the field may have any name.',
    }),
  },
  { $id: 'UploadBody' },
)
