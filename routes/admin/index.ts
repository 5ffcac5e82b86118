import type { FastifyPluginAsync } from 'fastify'
import images from './images.ts'
import links from './links.ts'
import stats from './stats.ts'

/** The calls that need the admin's token. */
export default (async (app) => {
  // An admin sends JSON.
  app.removeContentTypeParser(['text/plain', 'multipart/form-data'])
  app.limitFailedLookups('token')
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('Cache-Control', 'no-store')
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
