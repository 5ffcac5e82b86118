import { randomBytes } from 'node:crypto'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { readConfig } from '../../config.ts'
import { backUp, listBackups, restore } from '../../services/backup/index.ts'
import { inParallel } from '../../services/backup/objects.ts'
import { rebuild } from '../../services/backup/rebuild.ts'
import { openStores } from '../../stores/index.ts'
import { openObjectStore } from '../../stores/objects/index.ts'
import { hasPaths } from '../../stores/objects/object-store.ts'
import { type App, admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { dataDirWithLentDatabase } from '../helpers/embedded.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { multipart } from '../helpers/multipart.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { startS3, withoutS3 } from '../helpers/s3.ts'
import { tier } from '../helpers/tiers.ts'

interface Sent {
  id: string
  hash: string
}

async function send(app: App, link: string, image: Buffer): Promise<Sent> {
  const form = multipart([{ filename: 'Ferien.png', body: Buffer.concat([image, randomBytes(5_000)]) }])
  const { id, hash } = (await app.inject({ method: 'POST', url: link, ...form })).json().processed[0]
  return { id, hash }
}

/** A new installation, whose stores are not checked. */
async function openEmpty(t: Test, env: Record<string, string>) {
  const DATA_DIR = env.DATABASE_URL ? newFolder(t) : await dataDirWithLentDatabase(t)
  const config = readConfig({ ...env, DATA_DIR })
  const stores = await openStores(config, { attach: true, check: async () => {} })
  return { DATA_DIR, stores }
}

const openFolder = (path: string) => openObjectStore(pathToFileURL(path))

eachDatabase(async (t, env) => {
  const postgres = tier === 'default' ? undefined : startPostgres(t)
  const emptyEnv = async () =>
    env.DATABASE_URL && postgres
      ? { DATABASE_URL: await postgres.createDatabase() }
      : ({} as Record<string, string>)
  const app = await build(t, env)
  const link = await makeLink(app, { sinceNow: 'PT1H', label: 'Wedding' })
  const image = await makeImage()
  // In the engines tier, the backup goes to S3.
  const s3 = tier === 'default' || withoutS3() ? undefined : await startS3(t)
  const target = s3
    ? await openObjectStore(s3.url(await s3.createBucket('backups')))
    : await openFolder(newFolder(t))

  // Uploads and removals continue while the backup is made.
  const answered: Sent[] = []
  let isLoading = true
  const load = Array.from({ length: 4 }, async () => {
    while (isLoading) answered.push(await send(app, link, image))
  })
  while (answered.length < 12) await new Promise((resolve) => setTimeout(resolve, 10))
  const removed = answered[0]!
  await app.inject({ method: 'DELETE', url: `/admin/images/${removed.id}`, headers: admin })
  const before = answered.slice(1)
  const first = await backUp(app.stores, target)
  isLoading = false
  await Promise.all(load)
  t.ok(answered.length > before.length, `${answered.length - before.length} uploads during the backup`)
  t.match(first, { missing: [], damaged: [], copied: first.images })
  t.ok(first.images >= before.length)

  const second = await backUp(app.stores, target)
  t.equal(second.images, answered.length - 1)
  t.equal(second.copied, second.images - first.images, 'only new objects are copied')
  t.same(await listBackups(target), [...new Set([second.name, first.name])])

  const empty = await openEmpty(t, await emptyEnv())
  const result = await restore(empty.stores, target, { name: first.name })
  t.match(result, { images: first.images, missing: [], damaged: [] })
  for (const { id, hash } of before) {
    const [row] = await empty.stores.data.lifecycle.find([id])
    t.match(row, { id, hash })
    const bytes = await buffer(await empty.stores.objects.at(row!).get(id))
    t.equal(sha256(bytes), hash)
  }
  const restored = await empty.stores.data.links.findWithCounts(link.split('/').at(-1)!)
  t.match(restored, { label: 'Wedding' })
  t.match(await empty.stores.data.images.find(removed.id), { status: 'removed' })
  await t.rejects(restore(empty.stores, target), { name: 'NotEmpty' })
  await empty.stores.close()

  await t.rejects(
    (async () => {
      const other = await openEmpty(t, await emptyEnv())
      await other.stores.data.installation.create('another')
      await backUp(other.stores, target).finally(() => other.stores.close())
    })(),
    { name: 'BadBackup' },
    'the backups of two installations are kept apart',
  )
})

if (tier === 'default') {
  t.test('when a backup fails, no copy is running any more', async (t) => {
    let running = 0
    const copy = async (milliseconds: number) => {
      running++
      await sleep(Math.abs(milliseconds))
      running--
      if (milliseconds < 0) throw new Error('a copy failed')
    }
    const failing = async function* () {
      yield* [50, 10]
      throw new Error('the list failed')
    }
    await t.rejects(inParallel(failing(), 4, copy), { message: 'the list failed' })
    t.equal(running, 0)
    // It fails while the list is slow, and nobody waits for a copy.
    const slow = async function* () {
      yield* [50, -1]
      await sleep(20)
      yield 1
    }
    for (const parallel of [1, 4]) {
      await t.rejects(inParallel(slow(), parallel, copy), { message: 'a copy failed' })
      t.equal(running, 0)
    }
  })

  t.test('a backup names images without an intact object, and a damaged one is refused', async (t) => {
    const app = await build(t)
    const link = await makeLink(app)
    const image = await makeImage()
    const [good, damaged, missing] = [
      await send(app, link, image),
      await send(app, link, image),
      await send(app, link, image),
    ]
    const store = objectsOf(app)
    if (!hasPaths(store)) throw new Error('no files')
    writeFileSync(store.path(damaged.id), 'other bytes')
    rmSync(store.path(missing.id))
    const folder = newFolder(t)
    const target = await openFolder(folder)
    const result = await backUp(app.stores, target)
    t.match(result, { images: 3, copied: 1, missing: [missing.id], damaged: [damaged.id] })
    t.ok(await target.size(good.id))

    const empty = await openEmpty(t, {})
    t.teardown(() => empty.stores.close())
    if (!hasPaths(target)) throw new Error('no files')
    const { truncateSync, statSync } = await import('node:fs')
    const dump = target.path(result.name)
    truncateSync(dump, statSync(dump).size - 20)
    await t.rejects(restore(empty.stores, target))
    t.ok(await empty.stores.data.dump.isEmpty(), 'nothing was restored')
    t.equal(readdirSync(folder).includes('hasty-installation'), true)
  })

  t.test('images, hashes and metadata are rebuilt from the object store alone', async (t) => {
    const app = await build(t)
    const link = await makeLink(app)
    const image = await makeImage()
    const sent = [await send(app, link, image), await send(app, link, image)]
    const store = objectsOf(app)
    if (!hasPaths(store)) throw new Error('no files')
    const objects = join(store.path('ab'), '..', '..')
    const read = async (from: App['stores']['data'], id: string) => {
      const { format, width, height, hash, size, status } = (await from.images.find(id))!
      return { format, width, height, hash, size, status }
    }
    const before = await Promise.all(sent.map(({ id }) => read(app.stores.data, id)))

    const { stores } = await openEmpty(t, { OBJECT_STORE_URL: pathToFileURL(objects).href })
    t.teardown(() => stores.close())
    const log = { info() {}, error() {} }
    const result = await rebuild(stores, { signal: new AbortController().signal, log, shared: true })
    t.match(result, { objects: 2, images: 2, skipped: 0, failed: [], waiting: 0 })
    t.same(await Promise.all(sent.map(({ id }) => read(stores.data, id))), before)
    t.match(
      await stores.data.images.find(sent[0]!.id),
      { private: true },
      'any of them may have been private',
    )
    const other = await openEmpty(t, { OBJECT_STORE_URL: pathToFileURL(objects).href })
    t.teardown(() => other.stores.close())
    await rebuild(other.stores, { signal: new AbortController().signal, log, shared: true, isPublic: true })
    t.match(await other.stores.data.images.find(sent[0]!.id), { private: false })
    await t.rejects(rebuild(stores, { signal: new AbortController().signal, log, shared: true }), {
      name: 'NotEmpty',
    })
  })
}
