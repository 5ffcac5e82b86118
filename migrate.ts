import { run } from './process/run.ts'
import { openStores } from './stores/index.ts'
import { hasSetup } from './stores/objects/object-store.ts'

// Run this before a new version is rolled out. Opening the stores applies the migrations; then the object stores are set up.
await run('migrate', async (config, log) => {
  const stores = await openStores(config, { attach: true })
  log.info({ applied: stores.data.migrated }, 'the database schema is up to date')
  for (const { store } of stores.objects.all) {
    if (hasSetup(store)) log.info(await store.setUp())
  }
  await stores.close()
  return undefined
})
