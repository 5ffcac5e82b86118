import { reportMetrics } from './process/metrics/processes.ts'
import { createMetrics } from './process/metrics/registries.ts'
import { serveOperations } from './process/metrics/server.ts'
import { createSharedMetrics } from './process/metrics/shared.ts'
import { run } from './process/run.ts'
import { createAnalysis } from './services/analysis/index.ts'
import { Unavailable } from './services/errors.ts'
import { createLifecycle } from './services/lifecycle/index.ts'
import { createVerify } from './services/lifecycle/verify.ts'
import { createReadiness } from './services/readiness.ts'
import { openStores } from './stores/index.ts'

await run('worker', async (config, log) => {
  const { metricsPort, host } = config
  const operations = metricsPort ? await serveOperations({ host, port: metricsPort }) : undefined
  // Loaded only if it is used: OpenTelemetry needs several MB of memory.
  const stopTracing =
    config.tracing && (await import('./process/tracing.ts')).startTracing(config.tracing, 'worker', log)
  const stores = await openStores(config, { attach: true })
  const metrics = createMetrics('worker')
  const shared = createSharedMetrics(stores, config)
  const readiness = createReadiness(stores)
  // The process that started this worker serves its metrics.
  if (process.connected) reportMetrics(metrics)
  const stop = new AbortController()
  const running = [
    createAnalysis({ stores, accept: config.accept, log }).run(stop.signal),
    createVerify({ stores, log, config }).verifyPeriodically(stop.signal),
    createLifecycle({ stores, log, config }).sweepPeriodically(stop.signal),
  ]
  operations?.started({
    async checkReady() {
      if (stop.signal.aborted) throw new Unavailable({ detail: 'The process stops.' })
      await readiness.check()
    },
    async readMetrics() {
      const { work, state } = metrics
      const own = `${await work.metrics()}${await state.metrics()}`
      return { type: work.contentType, text: `${own}${await shared.metrics()}` }
    },
  })
  log.info('worker is ready')
  return async () => {
    stop.abort()
    await Promise.all(running)
    await stores.close()
    await stopTracing?.()
    await operations?.close()
  }
})
