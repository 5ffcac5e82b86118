import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Stats } from '../../schemas/stats.ts'
import { TooManyGuesses, TooManyTokens, Unauthorized } from '../../services/errors.ts'
import { problems } from '../problems.ts'

export default (async (app) => {
  app.get(
    '/stats',
    {
      schema: {
        operationId: 'readStats',
        summary: 'Read what came in: formats, cameras, days',
        response: { 200: Stats, ...problems(TooManyGuesses, TooManyTokens, Unauthorized) },
      },
    },
    () => app.services.stats.read(),
  )
}) satisfies FastifyPluginAsyncTypebox
