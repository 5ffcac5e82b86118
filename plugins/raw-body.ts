import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'
import { InvalidRequest } from '../services/errors.ts'
import { parseDigests } from '../services/uploads/digests.ts'
import { readDisposition } from '../services/uploads/disposition.ts'
import type { FilePart } from '../services/uploads/part.ts'
import { LimitedFile } from './limited-file.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether the media type says that the body is one image: `image/*` or `application/octet-stream`. */
    isRawBody(): boolean
    /**
     * The body as one part. Its name is that of Content-Disposition (RFC 6266), or else `name`.
     *
     * @throws {InvalidRequest} a digest is not valid
     */
    readRawBody(name?: string): FilePart
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
    app.decorateRequest('readRawBody', function (name) {
      return {
        name: nameIn(this.raw) ?? name ?? '',
        digests: digestsIn(this.raw),
        file: fileOf(this.raw, maxFileSize),
      }
    })
  },
  { name: 'raw-body', dependencies: ['config'] },
)

/** The file name of Content-Disposition, if the request has one. */
export const nameIn = ({ headers }: IncomingMessage) =>
  readDisposition(headers['content-disposition'] ?? '').fileName || undefined

/** The digests of Content-Digest and Repr-Digest. @throws {InvalidRequest} */
export function digestsIn({ headers }: IncomingMessage) {
  const digests = parseDigests([headers['content-digest'] ?? [], headers['repr-digest'] ?? []].flat())
  if (digests) return digests
  throw new InvalidRequest({
    detail: 'Content-Digest or Repr-Digest is not valid (RFC 9530), or they contradict each other.',
  })
}

/** The body up to the limit. Of a longer body, the rest is read and dropped. */
function fileOf(body: IncomingMessage, limit: number) {
  const file = new LimitedFile(limit)
  // `pipe` does not pass on that the connection was lost.
  body.once('close', () => {
    if (!body.readableEnded) file.destroy(new Error('The connection was lost.'))
  })
  return body.pipe(file)
}
