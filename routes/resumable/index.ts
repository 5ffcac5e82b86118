import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { InvalidRequest } from '../../services/errors.ts'
import { CHECKSUMS, field, limits, TUS_EXTENSIONS, TUS_VERSION } from './fields.ts'
import { createHandlers } from './handlers.ts'
import * as schemas from './schemas.ts'

/** Uploads in several requests: tus 1.0.0, and the IETF draft of resumable uploads. */
export default (async (app) => {
  const { config } = app
  const { begin, append, read, sendHead, remove } = createHandlers(app)
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('*', (_request, _body, done) => done(null))
  app.limitFailedLookups('link')

  app.addHook('onRequest', (request, reply, done) => {
    // tus requires it in every response, also in an error.
    if (request.headers['tus-resumable'] !== undefined)
      reply.headers({ 'Tus-Resumable': TUS_VERSION, 'Tus-Version': TUS_VERSION })
    done()
  })

  for (const url of ['/uploads/:id/files', '/uploads/:id/files/:file']) {
    const isFile = url.endsWith(':file')
    app.options(url, { schema: schemas.describe({ isFile }) }, async (_request, reply) =>
      reply
        .code(204)
        .headers({
          Allow: isFile ? 'DELETE, GET, HEAD, OPTIONS, PATCH, POST' : 'OPTIONS, POST',
          'Tus-Resumable': TUS_VERSION,
          'Tus-Version': TUS_VERSION,
          'Tus-Extension': TUS_EXTENSIONS,
          'Tus-Max-Size': config.maxFileSize,
          'Tus-Checksum-Algorithm': CHECKSUMS.join(','),
          'Upload-Limit': limits(config.maxFileSize, config.resumeWithin / 1000),
        })
        .send(null),
    )
  }

  app.post('/uploads/:id/files', { onRequest: app.refuseUploads, schema: schemas.begin }, begin)

  app.head(
    '/uploads/:id/files/:file',
    {
      config: { swagger: { exposeHeadRoute: true } },
      schema: schemas.readOffset,
    },
    sendHead,
  )

  app.get('/uploads/:id/files/:file', { schema: schemas.read }, async (request, reply) => {
    const { id, offset, length, expiresAt, answer } = await read(request, reply, { isHead: false })
    return {
      id,
      offset,
      ...(length !== null && { length }),
      complete: answer !== undefined,
      expiresOn: expiresAt.toISOString(),
      processed: answer?.processed ?? [],
      rejected: answer?.rejected ?? [],
    }
  })

  app.patch('/uploads/:id/files/:file', { schema: schemas.append }, append)

  app.delete('/uploads/:id/files/:file', { schema: schemas.remove }, remove)

  app.post('/uploads/:id/files/:file', { schema: schemas.override }, async (request, reply) => {
    switch (field(request, 'x-http-method-override')?.toUpperCase()) {
      case 'PATCH':
        return append(request, reply)
      case 'HEAD':
        return sendHead(request, reply)
      case 'DELETE':
        return remove(request, reply)
      default:
        throw new InvalidRequest({ detail: 'Send X-HTTP-Method-Override with PATCH, HEAD or DELETE.' })
    }
  })
}) satisfies FastifyPluginAsyncTypebox
