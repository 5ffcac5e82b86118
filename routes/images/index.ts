import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { imageFields, notModifiedFields, rangeFields } from '../../schemas/header-fields.ts'
import { IdParams } from '../../schemas/ids.ts'
import { ImageBytes, ImageVariant } from '../../schemas/images.ts'
import {
  Busy,
  ImageDamaged,
  ImageGone,
  ImageNotFound,
  ImageNotVerified,
  InvalidRequest,
  InvalidSignature,
  MetadataNotRemovable,
  PreconditionFailed,
  RangeNotSatisfiable,
  TooManyFailedLookups,
} from '../../services/errors.ts'
import type { Served } from '../../services/images/serve.ts'
import type { SignedQuery } from '../../services/images/signatures.ts'
import { problems } from '../problems.ts'
import { isFresh, rangeOf } from './conditional.ts'
import { createImageFields, type ImageFields } from './fields.ts'

const responses = {
  200: { description: 'The image.', headers: imageFields, content: ImageBytes },
  304: { ...Type.Null({ description: 'The client already has this image.' }), headers: notModifiedFields },
  ...problems(
    InvalidRequest,
    ImageNotFound,
    InvalidSignature,
    ImageNotVerified,
    MetadataNotRemovable,
    ImageGone,
    ImageDamaged,
    PreconditionFailed,
    TooManyFailedLookups,
    Busy,
  ),
}

export default (async (app) => {
  const { images, signatures } = app.services
  const { publicMetadata } = app.config
  const fieldsOf = createImageFields(app.config)
  app.limitFailedLookups('image')
  app.addHook('onRequest', refuseOtherSpellings)
  app.addHook('onSend', sendAtEndOfTurn)

  app.get(
    '/images/:id',
    {
      exposeHeadRoute: false,
      schema: {
        tags: ['images'],
        operationId: 'getImage',
        summary: 'Get an image, or a range of it',
        description:
          'Responses have an ETag and a Last-Modified for revalidation. An SVG is sent as an attachment, so that a ' +
          'browser does not open it as a page. A private image needs an access token or a signed URL. Without either, the ' +
          'response is the one for an unknown id.',
        params: IdParams,
        querystring: ImageVariant,
        response: {
          ...responses,
          206: {
            description: 'A range of the image (RFC 9110 §14).',
            headers: rangeFields,
            content: ImageBytes,
          },
          ...problems(RangeNotSatisfiable),
        },
      },
    },
    async (request, reply) => {
      const { params, query, headers } = request
      const signature = isUnsigned(query) ? 'none' : await signatures.check(`/images/${params.id}`, query)
      const served = await images.serve(params.id, {
        metadata: query.metadata ?? publicMetadata,
        mayReadPrivate: async () => signature === 'private' || app.mayReadPrivate(request),
        isFresh: (image) => isFresh(headers, image),
        range(image, size) {
          const range = rangeOf(headers, image, size)
          if (range !== 'unsatisfiable') return range
          reply.header('content-range', `bytes */${size}`)
          throw new RangeNotSatisfiable()
        },
      })
      return send(reply, served, fieldsOf(served.image))
    },
  )

  app.head(
    '/images/:id',
    {
      config: { swagger: { exposeHeadRoute: true } },
      schema: {
        tags: ['images'],
        operationId: 'getImage', // @fastify/swagger adds -head
        summary: 'Get the header fields of an image',
        description: 'The header fields are those of a GET. The response has no content.',
        params: IdParams,
        querystring: ImageVariant,
        response: responses,
      },
    },
    async (request, reply) => {
      const { params, query, headers } = request
      const signature = isUnsigned(query) ? 'none' : await signatures.check(`/images/${params.id}`, query)
      const served = await images.serve(params.id, {
        metadata: query.metadata ?? publicMetadata,
        mayReadPrivate: async () => signature === 'private' || app.mayReadPrivate(request),
        isFresh: (image) => isFresh(headers, image),
      })
      return send(reply, served, fieldsOf(served.image))
    },
  )
}) satisfies FastifyPluginAsyncTypebox

const isUnsigned = ({ signature, expires }: SignedQuery) => signature === undefined && expires === undefined

/** Sends an image whose bytes are open: nothing can fail between its header fields and the start of its content. */
function send(reply: FastifyReply, served: Served, { notModified, content }: ImageFields) {
  // Without a Content-Length, because some clients would wait for that many bytes.
  if (served.isFresh) return reply.code(304).headers(notModified).send()
  const { size, range } = served
  reply.headers(content)
  if (range) {
    reply.code(206).headers({
      'content-range': `bytes ${range.start}-${range.end}/${size}`,
      'content-length': range.end - range.start + 1,
    })
  } else reply.header('content-length', size)
  return reply.send(served.content)
}

/**
 * Refuses encoded characters, and a query with empty pairs, such as `?&`. The parser decodes or ignores them, and each
 * spelling would be a new key for a cache. The schema refuses unknown parameters for the same reason.
 */
function refuseOtherSpellings(
  { raw: { url = '' } }: FastifyRequest,
  _reply: FastifyReply,
  done: (error?: Error) => void,
) {
  const [path = '', ...query] = url.split('?')
  if (path.includes('%')) return done(new ImageNotFound())
  const isRefused = query.length > 0 && /^$|^&|&&|&$|%/.test(query.join('?'))
  done(
    isRefused
      ? new InvalidRequest({ detail: 'The query has an empty pair or an encoded character. Remove it.' })
      : undefined,
  )
}

/**
 * Sends the responses of one turn of the event loop together, at its end. A client on this machine that waits for
 * several of them, such as a proxy, is then woken once for all. Waking it costs more than a response.
 */
function sendAtEndOfTurn(
  _request: FastifyRequest,
  _reply: FastifyReply,
  payload: unknown,
  done: (error: null, payload: unknown) => void,
) {
  setImmediate(done, null, payload)
}
