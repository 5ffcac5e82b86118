import type { FastifyPluginAsync } from 'fastify'
import { NotFound } from '../services/errors.ts'
import { renderMessage } from '../web/shared/message.ts'

/** Pages that belong to no call of the API. */
export default (async (app) => {
  app.get('/', { schema: { hide: true } }, (request, reply) => {
    if (!request.wantsPage()) throw new NotFound()
    return reply.sendPage({ name: 'shared', ...renderMessage({ kind: 'Home' }, request.pageLanguage()) })
  })
}) satisfies FastifyPluginAsync
