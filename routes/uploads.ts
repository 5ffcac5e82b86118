import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { IdParams } from '../schemas/ids.ts'
import { UploadAnswer, UploadBody } from '../schemas/uploads.ts'
import {
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
  UnsupportedContentEncoding,
  UnsupportedTransferEncoding,
} from '../services/errors.ts'
import { problems } from './problems.ts'

export default (async (app) => {
  // Here nothing but multipart/form-data is read. The handler refuses the rest: a parser that does closes the connection,
  // and a client that still sends would not get the answer.
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
          'Each part is one image, of any media type and name: its bytes tell what it is. A part may have a ' +
          'Content-Digest or Repr-Digest (RFC 9530) with sha-256 or sha-512. A good part beside a bad one is kept.',
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
            UnsupportedContentEncoding,
            UnsupportedTransferEncoding,
          ),
        },
      },
    },
    async (request) => {
      if (!request.isMultipart()) throw new NotMultipart()
      return app.services.uploads.receive(request.params.id, request.readParts())
    },
  )
}) satisfies FastifyPluginAsyncTypebox
