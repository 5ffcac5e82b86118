import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import images from './images.ts'
import links from './links.ts'
import stats from './stats.ts'

/** The calls that need the admin's token. */
export default (async (app) => {
  app.removeContentTypeParser(['text/plain', 'multipart/form-data'])
  app.limitFailedLookups('token')
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('Cache-Control', 'no-store')
    readFormAsJson(request)
    done()
  })
  app.addHook('onRequest', app.auth([app.verifyAdmin]))
  app.addHook('onRoute', ({ schema }) => {
    Object.assign(schema ?? {}, { tags: ['admin'], security: [{ accessToken: [] }, { bearer: [] }] })
  })
  app.register(links)
  app.register(images)
  app.register(stats)
}) satisfies FastifyPluginAsync

/**
 * Every body is JSON. `curl -d` sends the content type of a form with it, and some programs send none. This does not let
 * a page of another origin send a request: its form cannot have the header field with the token.
 */
function readFormAsJson({ headers }: FastifyRequest) {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  const type = headers['content-type'] ?? ''
  if (hasBody && /^$|^application\/x-www-form-urlencoded *(;|$)/i.test(type))
    headers['content-type'] = 'application/json'
}
