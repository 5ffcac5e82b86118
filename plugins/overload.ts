import { getHeapStatistics } from 'node:v8'
import underPressure from '@fastify/under-pressure'
import fp from 'fastify-plugin'
import { Busy } from '../services/errors.ts'

// A request that waits longer than this for its turn is refused. Below it, a queue of requests shortens by itself.
const MAX_DELAY_MS = 1_000
// The mean of this time counts, so that a single pause is no overload.
const SAMPLE_MS = 1_000
// The first sample after a start may contain nothing but the start.
const START_MS = 2 * SAMPLE_MS
// The rest is for requests that were accepted.
const MAX_SHARE_OF_MEMORY = 0.85
const PROBES = new Set(['/livez', '/readyz', '/startupz', '/metrics'])

/**
 * Refuses requests with 503 and `Retry-After` while the event loop or the memory is exhausted, before their bodies are read.
 * Probes are answered: a restart would not help.
 */
export default fp(
  async (app) => {
    // 0 without a limit of the container.
    const memory = process.constrainedMemory()
    let readyAt = Number.POSITIVE_INFINITY
    app.addHook('onReady', async () => {
      readyAt = performance.now()
    })
    await app.register(underPressure, {
      maxEventLoopDelay: MAX_DELAY_MS,
      maxHeapUsedBytes: getHeapStatistics().heap_size_limit * MAX_SHARE_OF_MEMORY,
      ...(memory > 0 && memory < Number.MAX_SAFE_INTEGER && { maxRssBytes: memory * MAX_SHARE_OF_MEMORY }),
      sampleInterval: SAMPLE_MS,
      pressureHandler({ routeOptions }) {
        const isStarting = performance.now() - readyAt < START_MS
        if (!isStarting && !PROBES.has(routeOptions.url ?? '')) throw new Busy()
      },
    })
  },
  { name: 'overload', dependencies: ['errors', 'delivery'] },
)
