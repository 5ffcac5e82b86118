import { type Static, Type } from 'typebox'
import { Id } from './ids.ts'
import { Processed } from './uploads.ts'

/** The ids in the path of a resumable upload. */
export const ResumableParams = Type.Object({
  id: Type.String({ description: 'The id of the link.' }),
  file: Type.String({ description: 'The id of the upload.' }),
})

/** The state of a resumable upload. */
export const ResumableUpload = Type.Object(
  {
    id: Id,
    offset: Type.Integer({ minimum: 0, description: 'The number of bytes that are stored durably.' }),
    length: Type.Optional(
      Type.Integer({ minimum: 0, description: 'The size of the file in bytes, if it is known.' }),
    ),
    complete: Type.Boolean({ description: 'Whether the upload has a result: `processed` or `rejected`.' }),
    expiresOn: Type.String({
      format: 'date-time',
      description: 'The upload, or its result, is kept until then.',
    }),
    processed: Type.Array(Processed),
    rejected: Type.Array(Type.Ref('Rejected')),
  },
  {
    $id: 'ResumableUpload',
    description: 'The state of an upload. It ends with the result of an upload with one part.',
  },
)
export type ResumableUpload = Static<typeof ResumableUpload>

const integer = (description: string) => Type.Optional(Type.String({ pattern: '^[0-9]+$', description }))
const text = (description: string) => Type.Optional(Type.String({ description }))

/** The header fields of the requests, for the contract. They are read and checked by the routes. */
export const requestFields = {
  begin: Type.Object({
    'tus-resumable': text('`1.0.0`: the protocol is tus.'),
    'upload-draft-interop-version': text('`8`: the protocol is draft-ietf-httpbis-resumable-upload.'),
    'upload-complete': text('Draft: `?1` if the body is the whole file, `?0` if it is the first part.'),
    'upload-length': text('The size of the file in bytes.'),
    'upload-defer-length': text('tus: `1` if the size is not known yet.'),
    'upload-metadata': text(
      'tus: `filename`, `filetype`, `sender` and `message`, each with a value in Base64. The format is read from the bytes.',
    ),
    'upload-checksum': text('tus: an algorithm and the checksum of the body in Base64.'),
    'content-disposition': text('Draft: the name of the file (RFC 6266).'),
    'repr-digest': text('A digest of the whole file (RFC 9530).'),
    'content-digest': text('A digest of the body (RFC 9530).'),
  }),
  append: Type.Object({
    'tus-resumable': text('`1.0.0`: the protocol is tus.'),
    'upload-draft-interop-version': text('`8`: the protocol is draft-ietf-httpbis-resumable-upload.'),
    'upload-offset': text('The position of the first byte of the body in the file.'),
    'upload-complete': text('Draft: `?1` if the body is the end of the file.'),
    'upload-length': text('The size of the file in bytes, if no request has stated it before.'),
    'upload-checksum': text('tus: an algorithm and the checksum of the body in Base64.'),
    'content-digest': text('A digest of the body (RFC 9530).'),
  }),
}

const tus = { 'Tus-Resumable': text('tus: the version, `1.0.0`.') }
const draft = {
  'Upload-Complete': text('Draft: `?1` if the response is the result of the upload.'),
  'Upload-Limit': text('Draft: `max-size` and `max-age`.'),
}

/** The header fields of responses with the state of an upload. */
export const stateFields = {
  ...tus,
  ...draft,
  'Upload-Offset': integer('The number of bytes that are stored durably.'),
  'Upload-Length': integer('The size of the file in bytes, if it is known.'),
  'Upload-Expires': text('When the upload is deleted (RFC 9110 §5.6.7).'),
}

export const createdFields = {
  ...stateFields,
  Location: Type.String({ description: 'The URL of the upload.' }),
}

export const optionsFields = {
  ...tus,
  'Upload-Limit': text('Draft: `max-size` and `max-age` in seconds.'),
  'Tus-Version': text('The supported versions of tus.'),
  'Tus-Extension': text('The supported extensions of tus.'),
  'Tus-Max-Size': integer('The maximum size of a file in bytes.'),
  'Tus-Checksum-Algorithm': text('The algorithms of Upload-Checksum.'),
}
