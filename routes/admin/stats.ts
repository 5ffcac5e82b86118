import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Operation } from '../../schemas/operation.ts'
import { Stats } from '../../schemas/stats.ts'
import { StorageReport } from '../../schemas/storage.ts'
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

  app.get(
    '/storage',
    {
      config: { scope: 'stats:read' },
      schema: {
        operationId: 'readStorage',
        summary: 'Read the use of storage by tier, region and link',
        description:
          'The sweep measures the use of the object stores. The links with the most bytes are current.',
        response: { 200: StorageReport, ...adminProblems() },
      },
    },
    () => app.services.storage.read(),
  )

  app.get(
    '/operation',
    {
      config: { scope: 'stats:read' },
      schema: {
        operationId: 'readOperation',
        summary: 'Read the queue, the last sweep, the versions, and what is unreachable',
        description: 'It also responds while the database or an object store is unreachable.',
        response: { 200: Operation, ...adminProblems() },
      },
    },
    () => app.services.operation.read(),
  )
}) satisfies FastifyPluginAsyncTypebox
