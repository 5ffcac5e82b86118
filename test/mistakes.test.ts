import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { readConfig } from '../config.ts'
import { newId } from '../services/ids.ts'
import { openStores } from '../stores/index.ts'
import { createFileStore } from '../stores/objects/file/index.ts'
import { build, makeLink } from './helpers/app.ts'
import { dataDirWithLentDatabase } from './helpers/embedded.ts'
import { newFolder } from './helpers/folder.ts'
import { createCommand } from './helpers/hasty.ts'
import { makeImage } from './helpers/images.ts'
import { keysOf, put } from './helpers/lifecycle.ts'
import { startWrong } from './helpers/mistakes.ts'
import { multipart } from './helpers/multipart.ts'
import { until } from './helpers/server.ts'

/** An installation with 12 images, which is not running. */
async function installation(t: Test) {
  const DATA_DIR = await dataDirWithLentDatabase(t)
  const stores = await openStores(readConfig({ DATA_DIR }), { attach: true })
  const location = { region: '', tier: 'hot' } as const
  const body = await makeImage('png')
  const format = { format: 'PNG', mediaType: 'image/png' }
  for (let n = 0; n < 12; n++) {
    const image = { id: newId(), hash: String(n), size: body.length, ...location, ...format }
    await put(stores.objects.at(location), image.id, Buffer.concat([body, Buffer.from([n])]))
    await stores.data.lifecycle.adopt(image)
  }
  const keys = await keysOf(stores.objects.at(location))
  await stores.close()
  const objects = join(DATA_DIR, 'objects')
  return { DATA_DIR, objects, url: pathToFileURL(objects).href, keys }
}

/** The object keys of a file store, as a service with another database sees them. */
const keysIn = async (url: string) => keysOf(await createFileStore(new URL(url)))

/** Opens the stores as each entry does at its start. Resolves with the message of its refusal. */
async function refusal(env: Record<string, string>) {
  try {
    const stores = await openStores(readConfig(env), { attach: true })
    await stores.close()
  } catch (error) {
    return (error as Error).message
  }
  return 'it was not refused'
}

t.test('a new or lost database with the objects of an installation', async (t) => {
  const { url, keys } = await installation(t)
  const DATA_DIR = await dataDirWithLentDatabase(t)
  const env = { DATA_DIR, OBJECT_STORE_URL: url, SWEEP_GRACE: 'PT1S' }
  const message = await refusal(env)
  t.match(message, /The database is new, but the store of objects belongs to an installation that exists/)
  t.match(message, /Check DATABASE_URL \(or DATA_DIR\)\..*restore its backup.*--adopt-stores/)
  const hasty = createCommand(env)
  t.match(await hasty('sweep'), { code: 2, err: /The database is new/ })
  t.strictSame(await keysIn(url), keys, 'nothing was deleted')

  await t.test('with --adopt-stores, they can be used together', async (t) => {
    t.match(await startWrong(t, env, ['migrate.ts', '--adopt-stores']), { code: 0 })
    const refused = await startWrong(t, env, ['sweep.ts'])
    t.match(refused, { code: 1, output: /12 objects have no image, and only 0 have one/ })
    t.strictSame(await keysIn(url), keys, 'nothing was deleted')
    t.match(await hasty('sweep', '--adopt'), { code: 0, out: /"adopted": ?12/ })
    const stores = await openStores(readConfig(env), { attach: true })
    t.strictSame((await stores.data.lifecycle.find(keys)).map(({ id }) => id).sort(), keys)
    const { items } = await stores.data.audit.page({ limit: 9 })
    const actor = /^local:./
    t.match(items, [
      { actor, action: 'sweep', status: 200, detail: /"adopt":true/ },
      { actor, action: 'sweep', status: 500 },
      { actor, action: 'migrate', status: 200, detail: /"adoptStores":true/ },
    ])
    await stores.close()
  })
})

t.test('the database of another installation', async (t) => {
  const [ours, theirs] = [await installation(t), await installation(t)]
  const env = { DATA_DIR: ours.DATA_DIR, OBJECT_STORE_URL: theirs.url }
  const message = await refusal(env)
  t.match(message, /The store of objects belongs to another installation than the database/)
  t.match(message, /Check DATABASE_URL and the URL of the store\./)
  t.match(await startWrong(t, env, ['worker.ts']), { code: 1, output: /belongs to another installation/ })
  t.strictSame(await keysIn(theirs.url), theirs.keys, 'nothing was deleted')
})

t.test('a file store whose volume is not mounted', async (t) => {
  const { DATA_DIR, objects } = await installation(t)
  await rename(objects, `${objects}-unmounted`)
  const message = await refusal({ DATA_DIR })
  t.match(message, /The database has images in the store of objects, but that store is empty or new/)
  t.match(message, /Check that its volume is mounted/)
  t.notOk(existsSync(objects), 'nothing was written below the mount point')
  await rename(`${objects}-unmounted`, objects)
  t.equal(await refusal({ DATA_DIR }), 'it was not refused', 'when it is mounted')
})

t.test('a file store that is unmounted while the service runs', async (t) => {
  const app = await build(t)
  const { objects } = { objects: join(app.config.dataDir, 'objects') }
  const link = await makeLink(app)
  await rename(objects, `${objects}-unmounted`)
  const upload = await app.inject({ method: 'POST', url: link, ...multipart([{ body: await makeImage() }]) })
  t.equal(upload.statusCode, 503, 'no upload fills the disk below the mount point')
  t.equal((await app.inject('/readyz')).statusCode, 503)
  await rm(objects, { recursive: true, force: true })
  await rename(`${objects}-unmounted`, objects)
  await until(async () => (await app.inject('/readyz')).statusCode === 200 || undefined)
})

t.test('settings that cannot be used are refused with a reason', async (t) => {
  const DATA_DIR = await dataDirWithLentDatabase(t)
  for (const [env, message] of [
    [{ OBJECT_STORE_URL: 's3://bucket?regoin=eu' }, /unknown parameter .*regoin/],
    [
      { OBJECT_STORE_URL: 's3://bucket?region=eu&checksums=none' },
      /neither when-supported nor when-required/,
    ],
    [{ OBJECT_STORE_URL: 'ftp://bucket' }, /OBJECT_STORE_URL/],
    [{ QUEUE_URL: 'nats://one:4222,two:99999' }, /QUEUE_URL is \(not shown\)/],
    [{ TRASH_FOR: '7 days' }, /TRASH_FOR is "7 days", but must be an ISO 8601 duration/],
  ] as const)
    t.match(await refusal({ DATA_DIR, ...env }), message)
})

t.test('a queue that cannot be reached does not prevent the start', async (t) => {
  const env = { DATA_DIR: await dataDirWithLentDatabase(t), QUEUE_URL: 'nats://[::1]:1,127.0.0.1:1' }
  const { code, output } = await startWrong(t, env, ['sweep.ts'])
  t.equal(code, 0, output)
  t.match(output, /QUEUE_URL: no connection to \[::1\]:1, 127\.0\.0\.1:1 \(.*ECONNREFUSED/)
})

t.test('of two new databases with one new store, only one owns the store', async (t) => {
  const OBJECT_STORE_URL = pathToFileURL(join(newFolder(t), 'objects')).href
  const dirs = [await dataDirWithLentDatabase(t), await dataDirWithLentDatabase(t)]
  await Promise.all(dirs.map((DATA_DIR) => refusal({ DATA_DIR, OBJECT_STORE_URL })))
  const messages = []
  for (const DATA_DIR of dirs) messages.push(await refusal({ DATA_DIR, OBJECT_STORE_URL }))
  t.match(messages.sort(), [/belongs to/, 'it was not refused'], 'one of them owns the store')
})
