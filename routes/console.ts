import type { FastifyPluginAsync } from 'fastify'
import { NotFound } from '../services/errors.ts'
import { renderConsole } from '../web/console/page.ts'

/** The page of the console. It needs no token: it has the form to sign in. */
export default (async (app) => {
  if (!app.config.adminPages) return
  app.get('/admin', { schema: { hide: true } }, (request, reply) => {
    if (!request.wantsPage()) throw new NotFound()
    return reply.sendPage({ name: 'console', ...renderConsole(request.pageLanguage()) })
  })
  app.get('/admin/', { schema: { hide: true } }, (_request, reply) => reply.redirect('../admin'))
}) satisfies FastifyPluginAsync
