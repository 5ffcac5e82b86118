import { getHeapStatistics } from 'node:v8'
import underPressure from '@fastify/under-pressure'
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { networksOf } from '../services/access/address.ts'
import { Busy, type Problem } from '../services/errors.ts'
import { sendRefusal } from './errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** A hook of a route that receives images by `:id`. It refuses a request above the limits of `Admission`. */
    refuseUploads: onRequestHookHandler
  }
  interface FastifyRequest {
    /** Whether the request is refused because of overload. */
    isRefused: boolean
  }
}

// A request that waits longer than this for its turn is refused. Below it, a queue of requests shortens by itself.
const MAX_DELAY_MS = 500
// The mean of this time counts.
const SAMPLE_MS = 1_000
// The rest is for requests that were accepted.
const MAX_SHARE_OF_MEMORY = 0.85
const PROBES = new Set(['/livez', '/readyz', '/startupz', '/metrics'])

/**
 * Refuses requests with 503 and `Retry-After` while the event loop or the memory is exhausted, without handling them.
 * Probes are answered: a restart would not help.
 */
export default fp(
  async (app) => {
    app.decorateRequest('isRefused', false)
    app.decorate('refuseUploads', (request, reply, done) => {
      const { id } = request.params as { id: string }
      const problem = app.services.uploads.refusalOf(id, () => networksOf(request.ip)[0]!)
      if (problem) refuse(problem, request, reply, done)
      else done()
    })
    // 0 without a limit of the container.
    const memory = process.constrainedMemory()
    const isSustained = createSustainedCheck()
    await app.register(underPressure, {
      maxEventLoopDelay: MAX_DELAY_MS,
      maxHeapUsedBytes: getHeapStatistics().heap_size_limit * MAX_SHARE_OF_MEMORY,
      ...(memory > 0 && memory < Number.MAX_SAFE_INTEGER && { maxRssBytes: memory * MAX_SHARE_OF_MEMORY }),
      sampleInterval: SAMPLE_MS,
      pressureHandler(request, _reply, type) {
        if (type === 'eventLoopDelay' && !isSustained(app.memoryUsage().eventLoopDelay)) return
        if (!PROBES.has(request.routeOptions.url ?? '')) request.isRefused = true
      },
    })
    app.addHook('onRequest', (request, reply, done) => {
      if (request.isRefused) refuse(new Busy(), request, reply, done)
      else done()
    })
  },
  { name: 'overload', dependencies: ['errors', 'delivery', 'cors'] },
)

function refuse(
  problem: Problem,
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error) => void,
) {
  request.isRefused = true
  sendRefusal(problem, request, reply).then((isSent) => {
    if (!isSent) done(problem)
  }, done)
}

/**
 * Creates a check of the samples that are too high. A single pause, such as that of a start, can fill a whole sample. It is
 * no overload: the delay is sustained only if the next sample is too high again.
 */
function createSustainedCheck() {
  let last = { delay: Number.NaN, at: Number.NEGATIVE_INFINITY, isSustained: false }
  return (delay: number) => {
    if (delay !== last.delay) {
      const at = performance.now()
      last = { delay, at, isSustained: at - last.at < 2 * SAMPLE_MS + delay }
    }
    return last.isSustained
  }
}
