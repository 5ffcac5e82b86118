import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'
import { InvalidRequest } from '../services/errors.ts'
import { type Digests, parseDigests } from '../services/uploads/digests.ts'
import { readDisposition } from '../services/uploads/disposition.ts'
import type { FilePart } from '../services/uploads/part.ts'
import { LimitedFile } from './limited-file.ts'

type DigestField = 'content-digest' | 'repr-digest'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether the media type says that the body is one image: `image/*` or `application/octet-stream`. */
    isRawBody(): boolean
    /**
     * Gives the body as one part. Its name is that of Content-Disposition (RFC 6266), or else `name`. Nothing is read before
     * the caller takes the part, so that a request can be refused first.
     *
     * @throws {InvalidRequest} a digest is not valid
     */
    readRawBody(name?: string): Generator<FilePart, void, void>
    /** The file name of Content-Disposition (RFC 6266), if the request has one. */
    fileName(): string | undefined
    /** The digests of these fields (RFC 9530). @throws {InvalidRequest} one is not valid */
    digests(fields: DigestField[]): Digests
  }
}

/** Reads a body that is one image. */
export default fp(
  async (app) => {
    const { maxFileSize } = app.config
    app.decorateRequest('isRawBody', function () {
      return /^\s*(image\/[^;\s]+|application\/octet-stream)\s*(;|$)/i.test(
        this.headers['content-type'] ?? '',
      )
    })
    app.decorateRequest('fileName', function () {
      return readDisposition(this.headers['content-disposition'] ?? '').fileName || undefined
    })
    app.decorateRequest('digests', function (fields) {
      const digests = parseDigests(fields.flatMap((name) => this.headers[name] ?? []))
      if (digests) return digests
      throw new InvalidRequest({
        detail: 'Content-Digest or Repr-Digest is not valid (RFC 9530), or they contradict each other.',
      })
    })
    app.decorateRequest('readRawBody', function* (name) {
      yield {
        name: this.fileName() ?? name ?? '',
        digests: this.digests(['content-digest', 'repr-digest']),
        file: fileOf(this.raw, maxFileSize),
      }
    })
  },
  { name: 'raw-body', dependencies: ['config'] },
)

/** The body up to the limit. Of a longer body, the rest is read and dropped. */
function fileOf(body: IncomingMessage, limit: number) {
  const file = new LimitedFile(limit)
  // `pipe` does not pass on that the connection was lost.
  body.once('close', () => {
    if (!body.readableEnded) file.destroy(new Error('The connection was lost.'))
  })
  return body.pipe(file)
}
