import { parseArgs } from 'node:util'
import { recordLocalAction } from './process/local-action.ts'
import { run } from './process/run.ts'
import { openStores } from './stores/index.ts'
import { adoptStores, type checkAtStart } from './stores/installation.ts'
import { hasSetup } from './stores/objects/object-store.ts'

// Run this before a new version is rolled out. Opening the stores applies the migrations; then the object stores are set up.
await run('migrate', async (config, log) => {
  const { values } = parseArgs({ options: { 'adopt-stores': { type: 'boolean' } } })
  const adopt: typeof checkAtStart = async (data, objects) => {
    const installation = await adoptStores(data, objects)
    log.info({ installation }, 'the database and the object stores belong together now')
  }
  const stores = await openStores(config, { attach: true, ...(values['adopt-stores'] && { check: adopt }) })
  log.info({ applied: stores.data.migrated }, 'the database schema is up to date')
  for (const { store } of stores.objects.all) {
    if (hasSetup(store)) log.info(await store.setUp(config.resumeWithin))
  }
  const query = { adoptStores: values['adopt-stores'] ?? false, applied: stores.data.migrated.length }
  await recordLocalAction(stores.data, { action: 'migrate', query, status: 200 }, log)
  await stores.close()
  return undefined
})
