import { Type } from 'typebox'
import { IdParams } from '../../schemas/ids.ts'
import {
  createdFields,
  optionsFields,
  ResumableParams,
  ResumableUpload,
  requestFields,
  stateFields,
} from '../../schemas/resumable.ts'
import { RawImage, UploadAnswer, UploadQuery } from '../../schemas/uploads.ts'
import * as errors from '../../services/errors.ts'
import { ofBody, ofImage, problems } from '../problems.ts'

const ofUpload = [
  errors.InvalidRequest,
  errors.UploadNotFound,
  errors.UploadGone,
  errors.UploadBusy,
  errors.Busy,
  errors.UnsupportedTusVersion,
  errors.UnsupportedMediaType,
]

const ofBytes = [
  ...ofImage,
  errors.InconsistentUploadLength,
  errors.ChecksumMismatch,
  errors.UploadTakenOver,
  errors.UploadGone,
  errors.UnsupportedTusVersion,
  errors.UnsupportedMediaType,
]

const RESULT =
  'A file that is accepted gets the response of an upload with one part. A file that is not accepted gets an error with the reason.'

const appended = {
  tags: ['uploads'],
  params: ResumableParams,
  headers: requestFields.append,
  consumes: ['application/offset+octet-stream', 'application/partial-upload'],
  body: {
    content: {
      'application/offset+octet-stream': { schema: RawImage },
      'application/partial-upload': { schema: RawImage },
    },
  },
  response: {
    200: { ...UploadAnswer, headers: stateFields },
    204: { ...Type.Null({ description: 'The bytes were appended.' }), headers: stateFields },
    ...problems(...ofBytes, ...ofUpload, errors.MismatchingUploadOffset, errors.CompletedUpload),
  },
}

/** @param isFile whether it is about one upload of a link */
export const describe = ({ isFile }: { isFile: boolean }) => ({
  tags: ['uploads'],
  operationId: isFile ? 'describeResumableUpload' : 'describeResumableUploads',
  summary: 'The supported protocols and limits of resumable uploads',
  description: 'By the rules of tus 1.0.0 and of draft-ietf-httpbis-resumable-upload.',
  params: isFile ? ResumableParams : IdParams,
  response: {
    204: {
      ...Type.Null({ description: 'The limits are in the header fields.' }),
      headers: optionsFields,
    },
    ...problems(...ofBody),
  },
})

export const begin = {
  tags: ['uploads'],
  operationId: 'beginResumableUpload',
  summary: 'Begin an upload of one image in several requests',
  description: `By tus 1.0.0 or draft-ietf-httpbis-resumable-upload. The body may have the first bytes, or all. ${RESULT}`,
  params: IdParams,
  querystring: UploadQuery,
  headers: requestFields.begin,
  consumes: ['application/offset+octet-stream', 'application/partial-upload', 'application/octet-stream'],
  body: {
    content: {
      'application/offset+octet-stream': { schema: RawImage },
      'application/partial-upload': { schema: RawImage },
      'application/octet-stream': { schema: RawImage },
    },
  },
  response: {
    200: { ...UploadAnswer, headers: createdFields },
    201: {
      description:
        'The upload has begun. With tus, the response has the result if the body was the whole file.',
      headers: createdFields,
      ...Type.Optional(UploadAnswer),
    },
    ...problems(...ofBytes),
  },
}

export const readOffset = {
  tags: ['uploads'],
  operationId: 'readOffset',
  summary: 'Read the offset of an upload, before it is continued',
  description:
    'A request that still appends to the upload is ended. If all bytes have arrived, the upload is completed.',
  params: ResumableParams,
  response: {
    204: { ...Type.Null({ description: 'The offset is in Upload-Offset.' }), headers: stateFields },
    ...problems(...ofUpload, errors.InsufficientStorage, errors.UploadTakenOver),
  },
}

export const read = {
  tags: ['uploads'],
  operationId: 'readResumableUpload',
  summary: 'Read the state and the result of an upload',
  description: 'The result is kept until RESUME_WITHIN, so a client that lost the last response can read it.',
  params: ResumableParams,
  response: {
    200: { ...ResumableUpload, headers: stateFields },
    ...problems(...ofUpload, errors.InsufficientStorage, errors.UploadTakenOver),
  },
}

export const append = {
  ...appended,
  operationId: 'appendToUpload',
  summary: 'Append bytes to an upload',
  description: `A request that still appends to the upload is ended. ${RESULT}`,
}

export const remove = {
  tags: ['uploads'],
  operationId: 'deleteResumableUpload',
  summary: 'Delete an upload and its bytes',
  description: 'An image that was recorded stays.',
  params: ResumableParams,
  response: { 204: Type.Null({ description: 'deleted' }), ...problems(...ofUpload) },
}

export const override = {
  ...appended,
  headers: Type.Object({
    ...requestFields.append.properties,
    'x-http-method-override': Type.Optional(
      Type.String({
        description: '`PATCH`, `HEAD` or `DELETE`, for clients that cannot send these methods.',
      }),
    ),
  }),
  operationId: 'overrideMethod',
  summary: 'Send another method as POST',
  description: 'With X-HTTP-Method-Override, for clients of tus that cannot send all methods.',
}
