import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
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
const RESOLUTION_MS = 10
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
    const load = measureLoad()
    app.addHook('onClose', async () => load.stop())
    app.addHook('onRequest', (request, reply, done) => {
      if (load.isTooHigh && !PROBES.has(request.routeOptions.url ?? ''))
        refuse(new Busy(), request, reply, done)
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

/** Samples the delay of the event loop and the memory of this process until it is stopped. */
function measureLoad() {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delays.enable()
  let wasDelayed = false
  const load = { isTooHigh: false, stop }
  const timer = setInterval(() => {
    // NaN if the event loop had no turn.
    const isDelayed = !(delays.mean / 1e6 - RESOLUTION_MS <= MAX_DELAY_MS)
    delays.reset()
    // A single pause, such as that of a start, can fill a whole sample. It is no overload.
    load.isTooHigh = (isDelayed && wasDelayed) || isMemoryExhausted()
    wasDelayed = isDelayed
  }, SAMPLE_MS).unref()

  function stop() {
    clearInterval(timer)
    delays.disable()
  }
  return load
}

function isMemoryExhausted() {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
  if (used > limit * MAX_SHARE_OF_MEMORY) return true
  // 0 without a limit of the container.
  const memory = process.constrainedMemory()
  return memory > 0 && memory < Number.MAX_SAFE_INTEGER && residentBytes() > memory * MAX_SHARE_OF_MEMORY
}

/** 0 if it can't be read, as in a process that has no free file descriptor. */
function residentBytes() {
  try {
    return process.memoryUsage.rss()
  } catch {
    return 0
  }
}
