import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { IdParams } from '../schemas/ids.ts'
import { UploadAnswer, UploadBody } from '../schemas/uploads.ts'
import { networksOf } from '../services/access/address.ts'
import {
  Busy,
  DigestMismatch,
  InsufficientStorage,
  LinkExpired,
  LinkNotFound,
  LinkRevoked,
  LinkUsedUp,
  MalformedMultipart,
  NoImage,
  NotAccepted,
  NotMultipart,
  TooLarge,
  TooManyFailedLookups,
  TooManyUploads,
  UnsupportedContentEncoding,
  UnsupportedTransferEncoding,
} from '../services/errors.ts'
import { problems } from './problems.ts'

export default (async (app) => {
  // The parsers refuse a body and close the connection. A client that still sends would not read the response.
  // Therefore the handler refuses everything but multipart/form-data.
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('*', (_request, _body, done) => done(null))
  app.limitFailedLookups('link')

  app.post(
    '/uploads/:id',
    {
      schema: {
        tags: ['uploads'],
        operationId: 'upload',
        summary: 'Upload images by a link',
        description:
          'Each part is one image. Its format is read from its bytes; its media type and name do not matter. A part may ' +
          'have a Content-Digest or Repr-Digest (RFC 9530) with sha-256 or sha-512. Each part is accepted or rejected ' +
          'by itself.',
        params: IdParams,
        consumes: ['multipart/form-data'],
        body: { content: { 'multipart/form-data': { schema: UploadBody } } },
        response: {
          200: UploadAnswer,
          ...problems(
            MalformedMultipart,
            DigestMismatch,
            LinkNotFound,
            LinkExpired,
            LinkRevoked,
            LinkUsedUp,
            TooLarge,
            NotMultipart,
            NoImage,
            NotAccepted,
            InsufficientStorage,
            TooManyFailedLookups,
            TooManyUploads,
            Busy,
            UnsupportedContentEncoding,
            UnsupportedTransferEncoding,
          ),
        },
      },
    },
    async (request) => {
      if (!request.isMultipart()) throw new NotMultipart()
      return app.services.uploads.receive({
        linkId: request.params.id,
        network: networksOf(request.ip)[0]!,
        parts: request.readParts(),
      })
    },
  )
}) satisfies FastifyPluginAsyncTypebox
