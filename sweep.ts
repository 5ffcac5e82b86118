import { parseArgs } from 'node:util'
import { run } from './process/run.ts'
import { createLifecycle } from './services/lifecycle/index.ts'
import { openStores } from './stores/index.ts'

await run('sweep', async (config, log) => {
  const { values } = parseArgs({
    options: { 'dry-run': { type: 'boolean' }, force: { type: 'boolean' }, adopt: { type: 'boolean' } },
  })
  const { 'dry-run': dryRun = false, force = false, adopt = false } = values
  const stores = await openStores(config, { attach: true })
  const stop = new AbortController()
  const sweeping = createLifecycle({ stores, log, config })
    .sweep({ dryRun, force, adopt, signal: stop.signal })
    .then((summary) => {
      if (summary && summary.failedSteps > 0) process.exitCode = 1
    })
    .catch((err) => {
      if (stop.signal.aborted) return log.warn({}, 'the sweep was interrupted; the next one continues')
      log.fatal({ err }, 'the sweep failed')
      process.exitCode = 1
    })
    .finally(() => stores.close())
  return async () => {
    stop.abort()
    await sweeping
  }
})
