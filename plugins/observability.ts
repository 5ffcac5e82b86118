import cluster from 'node:cluster'
import { Gauge, Histogram, type Registry } from '@prometheus-io/client'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Logger } from 'pino'
import {
  type Collector,
  createCollector,
  readFromParent,
  reportMetrics,
  toText,
} from '../process/metrics/processes.ts'
import { type Count, createMetrics, exportCounts } from '../process/metrics/registries.ts'
import { createSharedMetrics } from '../process/metrics/shared.ts'
import { type RejectionReason, rejectionReasons } from '../schemas/uploads.ts'
import { Unavailable } from '../services/errors.ts'
import type { MethodCounts } from '../services/uploads/counts.ts'
import { UPLOAD_METHODS } from '../services/uploads/upload-request.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Reads the metrics of all processes of this service on this machine, in Prometheus' text format. */
    readMetrics(): Promise<{ type: string; text: string }>
    /** Collects the metrics of the child processes of this process. */
    childMetrics: Collector
  }
}

/** Logs requests and collects metrics. Neither contains an id, a token or a file name. */
export default fp(
  async (app) => {
    const metrics = createMetrics('api')
    const { work, state } = metrics
    logRequests(app)
    measureRequests(app, work)
    exportCounts(work, countsOf(app))
    exportCounts(state, gaugesOf(app), Gauge)
    const shared = createSharedMetrics(app.stores, app.config)
    const isClustered = app.config.apiProcesses > 1 && cluster.isWorker
    const stopReporting = isClustered ? reportMetrics(metrics) : () => {}
    const readAll = async () => [
      await work.getMetricsAsJSON(),
      await state.getMetricsAsJSON(),
      ...(await app.childMetrics.read()),
    ]
    app.decorate('childMetrics', createCollector())
    app.decorate('readMetrics', async () => {
      const snapshots = await (isClustered ? readFromParent() : readAll())
      if (!snapshots)
        throw new Unavailable({ detail: 'The metrics could not be read. Try again in a few seconds.' })
      return { type: work.contentType, text: `${await toText(snapshots)}${await shared.metrics()}` }
    })
    app.addHook('onClose', async () => {
      stopReporting()
      metrics.close()
    })
  },
  { name: 'observability', dependencies: ['config', 'errors', 'stores', 'cache', 'services'] },
)

function logRequests(app: FastifyInstance) {
  if (!(app.log as Logger).isLevelEnabled('info')) return
  app.addHook('onRequestAbort', async (request) => {
    request.log.info(describe(request), 'request aborted')
  })
  const isSampled = createSampling(app.log)
  app.addHook('onResponse', (request, { statusCode, elapsedTime }, done) => {
    if (!request.isRefused || isSampled())
      request.log.info({ ...describe(request), statusCode, ms: Math.round(elapsedTime) }, 'request')
    done()
  })
}

/**
 * Selects one refusal per second for the log, and counts the others: a line for each would take time that accepted requests
 * need.
 */
function createSampling(log: FastifyBaseLogger) {
  let refused = 0
  return () => {
    if (refused++ > 0) return false
    setTimeout(() => {
      if (refused > 1) log.warn({ refused: refused - 1 }, 'more requests were refused in the last second')
      refused = 0
    }, 1_000).unref()
    return true
  }
}

const describe = ({ method, routeOptions, ip }: FastifyRequest) => ({ method, route: routeOptions.url, ip })

function measureRequests(app: FastifyInstance, register: Registry) {
  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the request header to the end of the response; the route of an unknown path is "none"',
    labelNames: ['method', 'route', 'status_class'] as const,
    registers: [register],
  })
  app.addHook('onResponse', ({ method, routeOptions }, { statusCode, elapsedTime }, done) => {
    const { url: route = 'none' } = routeOptions
    const status_class = `${Math.floor(statusCode / 100)}xx`
    durations.observe({ method, route, status_class }, elapsedTime / 1000)
    done()
  })
}

// The problems of a link that accepts no upload, and of a link that cannot be created.
const LINK_REFUSALS: Record<string, string> = {
  LinkNotFound: 'not_found',
  LinkExpired: 'expired',
  LinkRevoked: 'revoked',
  LinkUsedUp: 'used_up',
  InvalidExpiry: 'invalid_expiry',
  UnknownRegion: 'unknown_region',
}

const REASONS = Object.keys(rejectionReasons) as RejectionReason[]

/** The counts that services keep in plain variables. To export another one, add it here. */
function countsOf({
  cache,
  problemCounts,
  services: { links, uploads, images, variants },
}: FastifyInstance): Count[] {
  const lookUps = (kind: 'hits' | 'misses') =>
    Object.entries(cache).map(([name, { count }]) => [name, count[kind]] as const)
  const byMethod = (read: (counts: MethodCounts) => number) =>
    UPLOAD_METHODS.map((method) => [method, read(uploads.counts[method])] as const)
  return [
    {
      name: 'hasty_problems_total',
      help: 'Responses with an error, by the name of the problem',
      labels: ['problem'],
      read: () => withZeros(problemCounts, ['Busy', 'InsufficientStorage', 'InternalError', 'Unavailable']),
    },
    { name: 'hasty_links_created_total', help: 'Links that were created', read: () => links.counts.created },
    {
      name: 'hasty_link_refusals_total',
      help: 'Requests that were refused because of a link, by reason',
      labels: ['reason'],
      read: () =>
        Object.entries(LINK_REFUSALS).map(
          ([name, reason]) => [reason, problemCounts.get(name) ?? 0] as const,
        ),
    },
    {
      name: 'hasty_uploads_total',
      help: 'Accepted parts, including duplicates, by upload method',
      labels: ['method'],
      read: () => byMethod(({ received }) => received),
    },
    {
      name: 'hasty_upload_duplicates_total',
      help: 'Accepted duplicates, by upload method',
      labels: ['method'],
      read: () => byMethod(({ duplicates }) => duplicates),
    },
    {
      name: 'hasty_upload_bytes_total',
      help: 'Accepted bytes, including duplicates, by upload method',
      labels: ['method'],
      read: () => byMethod(({ bytes }) => bytes),
    },
    {
      name: 'hasty_upload_rejections_total',
      help: 'Rejected parts, by upload method and reason',
      labels: ['method', 'reason'],
      read: () =>
        UPLOAD_METHODS.flatMap((method) =>
          REASONS.map(
            (reason) => [method, reason, uploads.counts[method].rejected.get(reason) ?? 0] as const,
          ),
        ),
    },
    {
      name: 'hasty_images_served_total',
      help: 'Responses with an image: full, partial (206) or not_modified (304)',
      labels: ['result'],
      read: () => [
        ['full', images.counts.full],
        ['partial', images.counts.partial],
        ['not_modified', images.counts.notModified],
      ],
    },
    {
      name: 'hasty_images_served_bytes_total',
      help: 'Bytes of images in responses',
      read: () => images.counts.bytes,
    },
    {
      name: 'hasty_variants_created_total',
      help: 'Variants that were created',
      read: () => variants.counts.created,
    },
    {
      name: 'hasty_variants_served_total',
      help: 'Responses with bytes of a variant',
      read: () => variants.counts.served,
    },
    {
      name: 'hasty_variants_refused_total',
      help: 'Requests for a variant that got an error',
      read: () => variants.counts.refused,
    },
    {
      name: 'hasty_cache_hits_total',
      help: 'Look-ups that a cache answered, by cache',
      labels: ['cache'],
      read: () => lookUps('hits'),
    },
    {
      name: 'hasty_cache_misses_total',
      help: 'Look-ups that a cache could not answer, by cache',
      labels: ['cache'],
      read: () => lookUps('misses'),
    },
  ]
}

// Prometheus does not see the increase of a series that begins with 1. So the usual ones begin with 0.
const withZeros = (counts: ReadonlyMap<string, number>, names: readonly string[]) =>
  new Map([...names.map((name) => [name, 0] as const), ...counts])

function gaugesOf({ services: { uploads } }: FastifyInstance): Count[] {
  return [
    {
      name: 'hasty_uploads_in_flight',
      help: 'Requests with images that are being received',
      read: () => uploads.load.requests,
    },
    {
      name: 'hasty_staged_bytes',
      help: 'Bytes of uploads that are received and not yet recorded',
      read: () => uploads.load.stagedBytes,
    },
  ]
}
