import type { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fresh from 'fresh'
import { Type } from 'typebox'
import { IdParams } from '../schemas/ids.ts'
import { ImageBytes, ImageVariant } from '../schemas/images.ts'
import {
  ImageDamaged,
  ImageGone,
  ImageNotFound,
  InvalidRequest,
  MetadataNotRemovable,
  PreconditionFailed,
  RangeNotSatisfiable,
  TooManyGuesses,
} from '../services/errors.ts'
import type { ImageRow } from '../stores/data/images.ts'
import type { ByteRange } from '../stores/objects/object-store.ts'
import { problems } from './problems.ts'

export default (async (app) => {
  const { images } = app.services
  app.slowGuesses('image')
  const answers = {
    200: { description: 'the image, byte by byte as it came', content: ImageBytes },
    304: Type.Null({ description: 'the image that the client has is still right' }),
    ...problems(
      InvalidRequest,
      ImageNotFound,
      MetadataNotRemovable,
      ImageGone,
      ImageDamaged,
      PreconditionFailed,
      TooManyGuesses,
    ),
  }

  async function open(id: string, { metadata }: ImageVariant): Promise<Served> {
    const image = await images.open(id)
    if (metadata === 'none' || app.config.publicMetadata === 'none')
      return { ...(await images.withoutMetadata(image)), cacheControl: STRIPPED_CACHE_CONTROL }
    return { ...image, cacheControl: CACHE_CONTROL, read: (range) => images.read(image, range) }
  }

  app.get(
    '/images/:id',
    {
      exposeHeadRoute: false,
      schema: {
        tags: ['images'],
        operationId: 'getImage',
        summary: 'Get an image, or a range of it',
        params: IdParams,
        querystring: ImageVariant,
        response: {
          ...answers,
          206: { description: 'a range of the image (RFC 9110 §14)', content: ImageBytes },
          ...problems(RangeNotSatisfiable),
        },
      },
    },
    async (request, reply) => {
      const image = await open(request.params.id, request.query)
      if (isFresh(request, describe(image, reply))) return sendNotModified(reply)
      const range = rangeOf(request, image)
      if (range === 'unsatisfiable') {
        reply.header('Content-Range', `bytes */${image.size}`)
        throw new RangeNotSatisfiable()
      }
      const bytes = await image.read(range)
      if (range) {
        reply.code(206).headers({
          'Content-Range': `bytes ${range.start}-${range.end}/${image.size}`,
          'Content-Length': range.end - range.start + 1,
        })
      }
      return reply.send(bytes)
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
        params: IdParams,
        querystring: ImageVariant,
        response: answers,
      },
    },
    async (request, reply) => {
      const image = await open(request.params.id, request.query)
      return isFresh(request, describe(image, reply)) ? sendNotModified(reply) : reply.code(200).send()
    },
  )
}) satisfies FastifyPluginAsyncTypebox

/** What is served: an image as it came, or without its metadata. */
interface Served extends Pick<ImageRow, 'mediaType' | 'size' | 'hash'> {
  cacheControl: string
  read(range?: ByteRange): Promise<Readable | Buffer>
}

// The bytes of an id never change.
const CACHE_CONTROL = 'public, max-age=31536000, immutable'
// What is taken out of them may.
const STRIPPED_CACHE_CONTROL = 'public, max-age=86400'

const etagOf = ({ hash }: Served) => `"${hash}"`

/** An SVG may hold scripts, and bytes may be anything to who guesses: with these a browser runs nothing of them. */
export const inert = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
  'Cross-Origin-Resource-Policy': 'cross-origin', // a picture is there to be shown on other sites' pages
}

/** Says of the answer what can be said before its bytes are opened. */
function describe(image: Served, reply: FastifyReply) {
  return reply.headers({
    'Content-Type': image.mediaType,
    'Content-Length': image.size,
    ETag: etagOf(image),
    'Cache-Control': image.cacheControl,
    'Accept-Ranges': 'bytes',
    ...inert,
  })
}

/**
 * Leaves out what tells of the bytes, as RFC 9110 §15.4.5 says: there are clients that wait for as many as
 * Content-Length says.
 */
const sendNotModified = (reply: FastifyReply) =>
  reply.removeHeader('Content-Length').removeHeader('Content-Type').code(304).send()

/**
 * Whether the client has the image already (RFC 9110 §13.2.2).
 *
 * @throws {PreconditionFailed}
 */
function isFresh({ headers }: FastifyRequest, reply: FastifyReply) {
  const etag = String(reply.getHeader('etag'))
  const wanted = headers['if-match']
  if (wanted !== undefined && wanted !== '*' && !wanted.split(/ *, */).includes(etag)) {
    throw new PreconditionFailed()
  }
  return fresh(headers, { etag })
}

/**
 * The range that a request asks for (RFC 9110 §14.1.2); undefined where it asks for all, or in a way that may be
 * ignored: with an If-Range of another image (§13.1.5), several ranges, or a Range that can't be read (§14.2).
 */
function rangeOf({ headers }: FastifyRequest, image: Served): ByteRange | 'unsatisfiable' | undefined {
  const condition = headers['if-range']
  if (condition !== undefined && condition !== etagOf(image)) return undefined
  const [, first, last, suffix] = /^bytes= *(?:(\d+)-(\d*)|-(\d+))$/i.exec(headers.range ?? '') ?? []
  if (first === undefined && suffix === undefined) return undefined
  const start = suffix ? Math.max(image.size - Number(suffix), 0) : Number(first)
  const end = last ? Math.min(Number(last), image.size - 1) : image.size - 1
  if (last && Number(last) < start) return undefined
  return start < image.size ? { start, end } : 'unsatisfiable'
}
