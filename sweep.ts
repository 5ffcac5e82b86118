import { parseArgs } from 'node:util'
import { recordLocalAction } from './process/local-action.ts'
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
    .then(
      (summary) => summary === undefined || summary.failedSteps === 0,
      (err) => {
        if (stop.signal.aborted) log.warn({}, 'the sweep was interrupted; the next one continues')
        else log.fatal({ err }, 'the sweep failed')
        return stop.signal.aborted
      },
    )
    .then(async (succeeded) => {
      const entry = { action: 'sweep', query: { force, adopt }, status: succeeded ? 200 : 500 }
      if (!dryRun) await recordLocalAction(stores.data, entry, log)
      await stores.close()
      // Not `process.exitCode`: close-with-grace ends a process that has nothing more to do with 0.
      process.exit(succeeded ? 0 : 1)
    })
  return async () => {
    stop.abort()
    await sweeping
  }
})
