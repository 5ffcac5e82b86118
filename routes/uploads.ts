import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { IdParams } from '../schemas/ids.ts'
import { RawImage, type Rejected, UploadAnswer, UploadBody, UploadQuery } from '../schemas/uploads.ts'
import { networksOf } from '../services/access/address.ts'
import {
  InvalidRequest,
  MalformedMultipart,
  NotMultipart,
  Problem,
  UnsupportedTransferEncoding,
} from '../services/errors.ts'
import { renderResult } from '../web/upload/page.ts'
import { ofImage, problems } from './problems.ts'

const NO_PARTS = 'Send the parts of one file to /uploads/{id}/files, or send the whole file in one request.'

export default (async (app) => {
  // The parsers refuse a body and close the connection. A client that still sends would not read the response.
  // Therefore the handler refuses everything but multipart/form-data and images.
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('*', (_request, _body, done) => done(null))
  app.limitFailedLookups('link')

  app.post(
    '/uploads/:id',
    {
      onRequest: app.refuseUploads,
      schema: {
        tags: ['uploads'],
        operationId: 'upload',
        summary: 'Upload images by a link',
        description:
          'Each part is one image. Its format is read from its bytes; its media type and name do not matter. A part may ' +
          'have a Content-Digest or Repr-Digest (RFC 9530) with sha-256 or sha-512. Each part is accepted or rejected ' +
          'by itself. One image may also be the whole body, with the media type image/… or application/octet-stream. ' +
          'Its name is in Content-Disposition or in `name`, and the digests are those of the request. If the link has a ' +
          'password, send it as `Authorization: Basic` with any user name.',
        params: IdParams,
        querystring: UploadQuery,
        consumes: ['multipart/form-data', 'image/*', 'application/octet-stream'],
        body: {
          content: {
            'multipart/form-data': { schema: UploadBody },
            'image/*': { schema: RawImage },
            'application/octet-stream': { schema: RawImage },
          },
        },
        response: {
          200: UploadAnswer,
          ...problems(...ofImage, MalformedMultipart, NotMultipart, UnsupportedTransferEncoding),
        },
      },
    },
    async (request, reply) => {
      if (request.headers['upload-complete'] === '?0') throw new InvalidRequest({ detail: NO_PARTS })
      const uploadRequest = {
        linkId: request.params.id,
        network: networksOf(request.ip)[0]!,
        credentials: request.linkCredentials(),
        given: request.query,
      }
      const { uploads } = app.services
      if (request.isMultipart()) {
        const received = uploads.receive({
          ...uploadRequest,
          method: 'multipart',
          parts: request.readParts(),
        })
        return request.wantsPage() ? sendResult(received, request, reply) : received
      }
      if (!request.isRawBody()) throw new NotMultipart()
      return uploads.receive({
        ...uploadRequest,
        method: 'raw',
        parts: request.readRawBody(request.query.name),
      })
    },
  )
}) satisfies FastifyPluginAsyncTypebox

/** Sends the result of a form without JavaScript as a page. */
async function sendResult(received: Promise<UploadAnswer>, request: FastifyRequest, reply: FastifyReply) {
  const show = ({ processed, rejected }: UploadAnswer) => {
    const answer = { processed, rejected: rejected as Rejected[] }
    return reply.sendPage({
      name: 'upload',
      isStatic: true,
      ...renderResult(answer, request.pageLanguage()),
    })
  }
  try {
    return show(await received)
  } catch (error) {
    if (!(error instanceof Problem && error.rejected)) throw error
    reply.code(error.status)
    return show({ processed: [], rejected: error.rejected })
  }
}
