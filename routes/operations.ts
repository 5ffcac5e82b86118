import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { Health } from '../schemas/health.ts'
import { problems } from './problems.ts'

// Orchestrators send these requests every few seconds, so they are not logged.
const logLevel = 'warn'

export default (async (app) => {
  if (app.config.metricsPort !== undefined) return // process/metrics/server.ts

  app.get(
    '/livez',
    {
      logLevel,
      schema: {
        tags: ['operations'],
        operationId: 'isLive',
        summary: 'Check that the process responds',
        description: 'For the liveness probe of an orchestrator. It asks no other system.',
        response: { 200: Health, ...problems() },
      },
    },
    async () => ({ status: 'ok' as const }),
  )

  app.get(
    '/readyz',
    {
      logLevel,
      schema: {
        tags: ['operations'],
        operationId: 'isReady',
        summary: 'Check that the database and the object stores respond',
        description: 'For the readiness probe of an orchestrator and for load balancers.',
        response: { 200: Health, ...problems() },
      },
    },
    async () => {
      await app.checkReady()
      return { status: 'ok' as const }
    },
  )

  app.get(
    '/startupz',
    {
      logLevel,
      schema: {
        tags: ['operations'],
        operationId: 'isStarted',
        summary: 'Check that the process has started',
        description: 'For the startup probe of an orchestrator.',
        response: { 200: Health, ...problems() },
      },
    },
    async () => ({ status: 'ok' as const }),
  )

  app.get(
    '/metrics',
    {
      logLevel,
      schema: {
        tags: ['operations'],
        operationId: 'readMetrics',
        summary: "Read the metrics in Prometheus' text format",
        description:
          'The metrics of all API processes and of the workers that they started. Each API process reports all of them.',
        response: {
          200: { description: 'The metrics.', content: { 'text/plain': { schema: Type.String() } } },
          ...problems(),
        },
      },
    },
    async (_request, reply) => {
      const { type, text } = await app.readMetrics()
      return reply.type(type).send(text)
    },
  )
}) satisfies FastifyPluginAsyncTypebox
