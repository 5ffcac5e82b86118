import cluster from 'node:cluster'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fastifyMetrics from 'fastify-metrics'
import fp from 'fastify-plugin'
import type { Logger } from 'pino'
import { joinMetrics } from '../process/cluster-metrics.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Reads the metrics, in a media type of Prometheus: of all API processes together, where there are several. */
    readMetrics(): Promise<{ type: string; text: string }>
  }
}

/** The log of requests, and the metrics. Neither has an id, a token or a name in it. */
export default fp(
  async (app) => {
    await app.register(fastifyMetrics.default, {
      endpoint: null,
      clearRegisterOnInit: true, // the registry is one for the whole process
      routeMetrics: { enabled: false },
    })
    const { Histogram, register } = app.metrics.client
    const durations = new Histogram({
      name: 'http_request_duration_seconds',
      help: 'Time from the head of a request to the end of its answer',
      labelNames: ['method', 'route', 'status_code'] as const,
    })
    const logsRequests = (app.log as Logger).isLevelEnabled('info')
    if (logsRequests) {
      app.addHook('onRequestAbort', async (request) => {
        request.log.info(describe(request), 'request aborted')
      })
    }
    app.addHook('onResponse', (request, reply, done) => {
      const { statusCode, elapsedTime } = reply
      if (logsRequests)
        request.log.info({ ...describe(request), statusCode, ms: Math.round(elapsedTime) }, 'request')
      const { method, routeOptions } = request
      const { url: route } = routeOptions
      if (route !== undefined) {
        const status_code = `${Math.floor(statusCode / 100)}xx`
        durations.observe({ method, route, status_code }, elapsedTime / 1000)
      }
      done()
    })
    const isClustered = app.config.apiProcesses > 1 && cluster.isWorker
    const read = isClustered ? joinMetrics() : () => register.metrics()
    app.decorate('readMetrics', async () => ({ type: register.contentType, text: await read() }))
    registerMetrics(app)
  },
  { name: 'observability', dependencies: ['config', 'stores', 'cache', 'services'] },
)

const describe = ({ method, routeOptions, ip }: FastifyRequest) => ({ method, route: routeOptions.url, ip })

function registerMetrics({
  metrics: {
    client: { Counter, Gauge },
  },
  cache,
  stores,
  services: { uploads, images },
}: FastifyInstance) {
  // The services keep plain counts; they are read when the metrics are asked for.
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name: `hasty_${name}_total`,
      help,
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  counter('uploads', 'Parts taken in, duplicates included', () => uploads.counts.received)
  counter('upload_duplicates', 'Parts whose content was known', () => uploads.counts.duplicates)
  counter('upload_bytes', 'Bytes taken in, duplicates included', () => uploads.counts.bytes)
  counter('images_served', 'Answers with the bytes of an image', () => images.counts.served)
  new Counter({
    name: 'hasty_upload_rejections_total',
    help: 'Parts not taken in, by reason',
    labelNames: ['reason'],
    collect() {
      this.reset()
      for (const [reason, count] of uploads.counts.rejected) this.inc({ reason }, count)
    },
  })
  for (const outcome of ['hits', 'misses'] as const) {
    new Counter({
      name: `hasty_cache_${outcome}_total`,
      help: `Look-ups in a cache: ${outcome}`,
      labelNames: ['cache'],
      collect() {
        this.reset()
        for (const [name, { count }] of Object.entries(cache)) this.inc({ cache: name }, count[outcome])
      },
    })
  }
  // Every API process reads the same from the database.
  const aggregator = 'max'
  new Gauge({
    name: 'hasty_waiting_images',
    help: 'Images that wait for a worker',
    aggregator,
    async collect() {
      this.set(await stores.queue.waiting().catch(() => Number.NaN))
    },
  })
  // A sweep may be a process that is gone when the metrics are asked for: what it did is in the database.
  const lastSweep = () => stores.data.sweeps.last().catch(() => undefined)
  new Gauge({
    name: 'hasty_sweep_finished_timestamp_seconds',
    help: 'When the last sweep ended',
    aggregator,
    async collect() {
      const last = await lastSweep()
      this.set(last ? last.finishedAt.getTime() / 1000 : Number.NaN)
    },
  })
  new Gauge({
    name: 'hasty_sweep_items',
    help: 'What the last sweep found and did',
    aggregator,
    labelNames: ['what'],
    async collect() {
      this.reset()
      const { milliseconds: _, ...counts } = (await lastSweep())?.summary ?? {}
      for (const [what, count] of Object.entries(counts)) this.set({ what }, count)
    },
  })
  new Gauge({
    name: 'hasty_sweep_duration_seconds',
    help: 'How long the last sweep took',
    aggregator,
    async collect() {
      const last = await lastSweep()
      this.set(last ? last.summary.milliseconds / 1000 : Number.NaN)
    },
  })
}
