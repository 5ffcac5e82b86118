import type { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fresh from 'fresh'
import { Type } from 'typebox'
import type { ByteRange } from '../schemas/byte-range.ts'
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
  TooManyFailedLookups,
} from '../services/errors.ts'
import type { ServedRow } from '../stores/data/data-store.ts'
import { problems } from './problems.ts'

export default (async (app) => {
  const { images } = app.services
  app.limitFailedLookups('image')
  // The answers of one turn of the event loop go out together, at its end: who has them all on one machine, as a proxy, is
  // woken once for them, and to wake it costs more than to answer.
  app.addHook('onSend', (_request, _reply, payload, done) => {
    setImmediate(done, null, payload)
  })
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
      TooManyFailedLookups,
    ),
  }

  function serve(image: ServedRow, { metadata }: ImageVariant): Served | Promise<Served> {
    if (metadata === 'none' || app.config.publicMetadata === 'none') return serveWithoutMetadata(image)
    return { ...describeOnce(image), size: image.size, read: (range) => images.read(image, range) }
  }

  async function serveWithoutMetadata(image: ServedRow) {
    const { read, ...stripped } = await images.withoutMetadata(image)
    return { ...describe(stripped, STRIPPED_CACHE_CONTROL), size: stripped.size, read }
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
      const image = await serve(await images.open(request.params.id), request.query)
      if (isFresh(request, image)) return sendNotModified(reply, image)
      reply.headers(image.fields)
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
      const image = await serve(await images.open(request.params.id), request.query)
      return isFresh(request, image) ? sendNotModified(reply, image) : reply.headers(image.fields).send()
    },
  )
}) satisfies FastifyPluginAsyncTypebox

/** What is served: an image as it came, or without its metadata. */
interface Served extends Described {
  size: number
  read(range?: ByteRange): Readable | Buffer | Promise<Readable | Buffer>
}

/** The header fields of an image's answers. */
interface Described {
  etag: string
  /** Of a 304: those that do not tell of the bytes, as RFC 9110 §15.4.5 says. */
  kept: Record<string, string>
  /** Of all others. */
  fields: Record<string, string | number>
}

// The bytes of an id never change.
const CACHE_CONTROL = 'public, max-age=31536000, immutable'
// What is taken out of them may.
const STRIPPED_CACHE_CONTROL = 'public, max-age=86400'

/** An SVG may hold scripts, and bytes may be anything to who guesses: with these a browser runs nothing of them. */
export const inert = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
  'cross-origin-resource-policy': 'cross-origin', // a picture is there to be shown on other sites' pages
}

function describe(
  { mediaType, size, hash }: Pick<ServedRow, 'mediaType' | 'size' | 'hash'>,
  cacheControl: string,
): Described {
  const etag = `"${hash}"`
  const kept = { etag, 'cache-control': cacheControl, 'accept-ranges': 'bytes', ...inert }
  return { etag, kept, fields: { 'content-type': mediaType, 'content-length': size, ...kept } }
}

const described = new WeakMap<ServedRow, Described>()

/** The fields of an image as it came, made once for as long as its row is cached. */
function describeOnce(image: ServedRow) {
  const known = described.get(image)
  if (known) return known
  const made = describe(image, CACHE_CONTROL)
  described.set(image, made)
  return made
}

/** There are clients that wait for as many bytes as a Content-Length says: a 304 has none. */
const sendNotModified = (reply: FastifyReply, { kept }: Described) => reply.code(304).headers(kept).send()

/**
 * Whether the client has the image already (RFC 9110 §13.2.2).
 *
 * @throws {PreconditionFailed}
 */
function isFresh({ headers }: FastifyRequest, { etag }: Described) {
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
  if (condition !== undefined && condition !== image.etag) return undefined
  const [, first, last, suffix] = /^bytes= *(?:(\d+)-(\d*)|-(\d+))$/i.exec(headers.range ?? '') ?? []
  if (first === undefined && suffix === undefined) return undefined
  const start = suffix ? Math.max(image.size - Number(suffix), 0) : Number(first)
  const end = last ? Math.min(Number(last), image.size - 1) : image.size - 1
  if (last && Number(last) < start) return undefined
  return start < image.size ? { start, end } : 'unsatisfiable'
}
