import { run } from './process/run.ts'
import { createAnalysis } from './services/analysis/index.ts'
import { createLifecycle } from './services/lifecycle/index.ts'
import { createVerify } from './services/lifecycle/verify.ts'
import { openStores } from './stores/index.ts'

await run('worker', async (config, log) => {
  const stores = await openStores(config, { attach: true })
  const stop = new AbortController()
  const running = [
    createAnalysis({ stores, accept: config.accept, log }).run(stop.signal),
    createVerify({ stores, log, config }).verifyPeriodically(stop.signal),
    createLifecycle({ stores, log, config }).sweepPeriodically(stop.signal),
  ]
  log.info('worker is ready')
  return async () => {
    stop.abort()
    await Promise.all(running)
    await stores.close()
  }
})
