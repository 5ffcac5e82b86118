import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Stats } from '../../schemas/stats.ts'
import { adminProblems } from '../problems.ts'

export default (async (app) => {
  app.get(
    '/stats',
    {
      config: { scope: 'stats:read' },
      schema: {
        operationId: 'readStats',
        summary: 'Read the statistics of formats, cameras and days',
        description: 'Each accepted upload counts, also a duplicate.',
        response: { 200: Stats, ...adminProblems() },
      },
    },
    () => app.services.stats.read(),
  )
}) satisfies FastifyPluginAsyncTypebox
