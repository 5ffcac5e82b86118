import cluster from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Logger } from 'pino'
import { joinClusterMetrics } from '../process/cluster-metrics.ts'
import { detectSandbox } from '../services/analysis/sandbox/levels.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Reads the metrics of all API processes, in Prometheus' text format. */
    readMetrics(): Promise<{ type: string; text: string }>
  }
}

// Prometheus gives up a scrape after 10 s by default.
const DATABASE_TIMEOUT_MS = 2_000

/** Logs requests and collects metrics. Neither contains an id, a token or a file name. */
export default fp(
  async (app) => {
    const register = new Registry()
    collectDefaultMetrics({ register })
    logRequests(app)
    measureRequests(app, register)
    countServices(app, register)
    readDatabase(app, register)
    const isClustered = app.config.apiProcesses > 1 && cluster.isWorker
    const read = isClustered ? joinClusterMetrics(register) : () => register.metrics()
    app.decorate('readMetrics', async () => ({ type: register.contentType, text: await read() }))
  },
  { name: 'observability', dependencies: ['config', 'stores', 'cache', 'services'] },
)

function logRequests(app: FastifyInstance) {
  if (!(app.log as Logger).isLevelEnabled('info')) return
  app.addHook('onRequestAbort', async (request) => {
    request.log.info(describe(request), 'request aborted')
  })
  app.addHook('onResponse', (request, { statusCode, elapsedTime }, done) => {
    request.log.info({ ...describe(request), statusCode, ms: Math.round(elapsedTime) }, 'request')
    done()
  })
}

const describe = ({ method, routeOptions, ip }: FastifyRequest) => ({ method, route: routeOptions.url, ip })

function measureRequests(app: FastifyInstance, register: Registry) {
  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the request header to the end of the response',
    labelNames: ['method', 'route', 'status_class'] as const,
    registers: [register],
  })
  app.addHook('onResponse', ({ method, routeOptions }, { statusCode, elapsedTime }, done) => {
    const { url: route } = routeOptions
    if (route !== undefined) {
      const status_class = `${Math.floor(statusCode / 100)}xx`
      durations.observe({ method, route, status_class }, elapsedTime / 1000)
    }
    done()
  })
}

/** The services count in plain variables. A scrape reads them. */
function countServices({ cache, services: { uploads, images } }: FastifyInstance, register: Registry) {
  const registers = [register]
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  counter('hasty_uploads_total', 'Accepted parts, including duplicates', () => uploads.counts.received)
  counter('hasty_upload_duplicates_total', 'Accepted duplicates', () => uploads.counts.duplicates)
  counter('hasty_upload_bytes_total', 'Accepted bytes, including duplicates', () => uploads.counts.bytes)
  counter('hasty_images_served_total', 'Responses with image content', () => images.counts.served)
  new Counter({
    name: 'hasty_upload_rejections_total',
    help: 'Rejected parts, by reason',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of uploads.counts.rejected) this.inc({ reason }, count)
    },
  })
  for (const outcome of ['hits', 'misses'] as const) {
    new Counter({
      name: `hasty_cache_${outcome}_total`,
      help: `Cache ${outcome}, by cache`,
      labelNames: ['cache'],
      registers,
      collect() {
        this.reset()
        for (const [name, { count }] of Object.entries(cache)) this.inc({ cache: name }, count[outcome])
      },
    })
  }
}

/** Metrics that the database has. They are NaN while it does not answer. */
function readDatabase({ stores }: FastifyInstance, register: Registry) {
  // All API processes read the same value. Of several processes, take one value instead of the sum.
  const shared = { aggregator: 'max' as const, registers: [register] }
  const lastSweep = shareConcurrent(() => withTimeout(stores.data.sweeps.last()))
  new Gauge({
    name: 'hasty_waiting_images',
    help: 'Images that wait for a worker',
    ...shared,
    async collect() {
      this.set((await withTimeout(stores.queue.waiting())) ?? Number.NaN)
    },
  })
  new Gauge({
    name: 'hasty_decoder_isolation',
    help: '1 for the level by which the processes that read images are isolated (docs/threat-model.md)',
    labelNames: ['level'],
    ...shared,
    async collect() {
      this.reset()
      this.set({ level: (await detectSandbox()).level }, 1)
    },
  })
  new Gauge({
    name: 'hasty_last_sweep_timestamp_seconds',
    help: 'Unix time at which the last sweep ended',
    ...shared,
    async collect() {
      const last = await lastSweep()
      this.set(last ? last.finishedAt.getTime() / 1000 : Number.NaN)
    },
  })
  new Gauge({
    name: 'hasty_last_sweep_duration_seconds',
    help: 'Duration of the last sweep',
    ...shared,
    async collect() {
      const last = await lastSweep()
      this.set(last ? last.summary.durationMs / 1000 : Number.NaN)
    },
  })
  new Gauge({
    name: 'hasty_last_sweep_items',
    help: 'Items that the last sweep found or changed, by kind',
    labelNames: ['kind'],
    ...shared,
    async collect() {
      this.reset()
      const { durationMs: _, ...counts } = (await lastSweep())?.summary ?? {}
      for (const [kind, count] of Object.entries(counts)) this.set({ kind }, count)
    },
  })
}

/** Gives concurrent callers the result of one call. */
function shareConcurrent<T>(call: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= call().finally(() => {
      running = undefined
    })
    return running
  }
}

/** Resolves with undefined if a query fails or takes longer than 2 s. */
async function withTimeout<T>(query: Promise<T>): Promise<T | undefined> {
  const timeout = new AbortController()
  const expired = sleep(DATABASE_TIMEOUT_MS, undefined, { signal: timeout.signal }).catch(() => undefined)
  return Promise.race([query.catch(() => undefined), expired]).finally(() => timeout.abort())
}
