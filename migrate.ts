import { run } from './process/run.ts'
import { openStores } from './stores/index.ts'
import { hasSetup } from './stores/objects/object-store.ts'

// Opening the stores brings the schema up to date; this does it ahead of a roll-out, and sets up the object stores.
await run('migrate', async (config, log) => {
  const stores = await openStores(config, { attach: true })
  log.info({ applied: stores.data.migrated }, 'the schema is up to date')
  for (const { store } of stores.objects.all) {
    if (hasSetup(store)) log.info(await store.setUp())
  }
  await stores.close()
  return undefined
})
