import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { imageFields, notModifiedFields, rangeFields } from '../../schemas/header-fields.ts'
import { IdParams } from '../../schemas/ids.ts'
import { ImageBytes, ImageVariant } from '../../schemas/images.ts'
import {
  Busy,
  ImageDamaged,
  ImageGone,
  ImageNotDecodable,
  ImageNotFound,
  ImageNotShowable,
  ImageNotVerified,
  InvalidRequest,
  InvalidSignature,
  InvalidVariant,
  MetadataNotRemovable,
  NotAcceptable,
  PreconditionFailed,
  RangeNotSatisfiable,
  TooManyFailedLookups,
  VariantFailed,
} from '../../services/errors.ts'
import type { Representation } from '../../services/images/representation.ts'
import type { Served, ServeRequest } from '../../services/images/serve.ts'
import type { SignedQuery } from '../../services/images/signatures.ts'
import { isVariant } from '../../services/variants/spec.ts'
import { problems } from '../problems.ts'
import { isFresh, rangeOf } from './conditional.ts'
import { asDownload, createImageFields, type ImageFields } from './fields.ts'

type ImageRequest = FastifyRequest<{ Params: Static<typeof IdParams>; Querystring: ImageVariant }>

const responses = {
  200: { description: 'The image.', headers: imageFields, content: ImageBytes },
  304: { ...Type.Null({ description: 'The client already has this image.' }), headers: notModifiedFields },
  ...problems(
    InvalidRequest,
    ImageNotFound,
    InvalidSignature,
    InvalidVariant,
    ImageNotVerified,
    NotAcceptable,
    ImageNotShowable,
    ImageNotDecodable,
    VariantFailed,
    MetadataNotRemovable,
    ImageGone,
    ImageDamaged,
    PreconditionFailed,
    TooManyFailedLookups,
    Busy,
  ),
}

export default (async (app) => {
  const { images, variants, signatures } = app.services
  const { publicMetadata } = app.config
  const fieldsOf = createImageFields(app.config)
  app.limitFailedLookups('image')
  app.addHook('onRequest', refuseOtherSpellings)
  app.addHook('onSend', sendAtEndOfTurn)

  /** @param range finds the range to send; undefined for a HEAD, which reads no byte */
  async function respond(request: ImageRequest, reply: FastifyReply, range?: ServeRequest['range']) {
    const { params, query, headers } = request
    const { id } = params
    const signature = isUnsigned(query) ? 'none' : await signatures.check(`/images/${id}`, query)
    const metadata = query.metadata ?? publicMetadata
    const wanted = {
      metadata,
      mayReadPrivate: async () => signature === 'private' || app.mayReadPrivate(request),
      isFresh: (image: Representation) => isFresh(headers, image),
      ...(range && { range }),
    }
    const served = isVariant(query)
      ? await variants.serve(id, { ...wanted, query, accept: headers.accept, isSigned: signature !== 'none' })
      : await images.serve(id, wanted)
    if (query.download !== undefined) {
      const name = metadata === 'none' ? undefined : await images.nameOf(id)
      return send(reply, served, asDownload(fieldsOf(served.image), served.image, name))
    }
    return send(reply, served, fieldsOf(served.image))
  }

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
          'response is the one for an unknown id. With w, h, fit, format, q or dpr, the response is a variant: a picture for ' +
          'web pages that is made once.',
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
    (request, reply) =>
      respond(request, reply, (image, size) => {
        const range = rangeOf(request.headers, image, size)
        if (range !== 'unsatisfiable') return range
        reply.header('content-range', `bytes */${size}`)
        throw new RangeNotSatisfiable()
      }),
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
    (request, reply) => respond(request, reply),
  )
}) satisfies FastifyPluginAsyncTypebox

const isUnsigned = ({ signature, expires }: SignedQuery) => signature === undefined && expires === undefined

/** Sends an image whose bytes are open: nothing can fail between its header fields and the start of its content. */
function send(reply: FastifyReply, served: Served, { notModified, content }: ImageFields) {
  if (served.image.variesByAccept) reply.header('vary', addTo(reply.getHeader('vary'), 'Accept'))
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

/** CORS may have set the field before. */
const addTo = (vary: ReturnType<FastifyReply['getHeader']>, name: string) =>
  vary ? `${vary}, ${name}` : name

/**
 * Refuses encoded characters, a fragment, which the router takes for a query, and a query with empty pairs, such as `?&`.
 * The parser decodes or ignores them, and each spelling would be a new key for a cache. The schema refuses
 * unknown parameters for the same reason.
 */
function refuseOtherSpellings(
  { raw: { url = '' } }: FastifyRequest,
  _reply: FastifyReply,
  done: (error?: Error) => void,
) {
  const [path = '', ...query] = url.split('?')
  if (/[%#]/.test(path)) return done(new ImageNotFound())
  const isRefused = query.length > 0 && /^$|^&|&&|&$|[%#]/.test(query.join('?'))
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
