import { run } from './run.ts'
import { openStores } from './stores/index.ts'

// Opening the stores brings the schema up to date; this does it ahead of a roll-out, and nothing else.
await run('migrate', async (config, log) => {
  const stores = await openStores(config, { attach: true })
  log.info({ applied: stores.data.migrated }, 'the schema is up to date')
  await stores.close()
  return undefined
})
