import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readConfig } from '../../config.ts'
import { createLifecycle } from '../../services/lifecycle/index.ts'
import { openStores } from '../../stores/index.ts'
import { type App, admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { dataDirWithLentDatabase } from '../helpers/embedded.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { DAY, keysOf, put, putOld } from '../helpers/lifecycle.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { inTier } from '../helpers/tiers.ts'

const linkIn = (app: App, region: string) => makeLink(app, { sinceNow: 'PT1H', region })

async function upload(app: App, url: string, body: Buffer) {
  const answer = await app.inject({ method: 'POST', url, ...multipart([{ body }]) })
  return answer.json().processed[0] as { id: string; duplicate: boolean; status: string }
}

const read = async (app: App, id: string) => {
  const answer = await app.inject({ url: `/images/${id}` })
  return answer.statusCode === 200 ? answer.rawPayload : answer.statusCode
}

const log = { info() {}, warn() {}, error() {} }
const sweep = (app: App) =>
  createLifecycle({ stores: app.stores, log, config: { ...app.config, sweepGrace: 1_000 } }).sweep({
    signal: new AbortController().signal,
  })

eachDatabase(async (t, env) => {
  const folder = newFolder(t)
  const place = (name: string) => `file://${folder}/${name}`
  const app = await build(t, {
    OBJECT_STORE_URLS: `eu=${place('eu')},us=${place('us')}`,
    COLD_STORE_URLS: `eu=${place('eu-cold')}`,
    ARCHIVE_AFTER: 'P30D',
    ...env,
  })
  const store = (region: string, tier: 'hot' | 'cold' = 'hot') => app.stores.objects.at({ region, tier })
  const kept = async () => ({
    eu: await keysOf(store('eu')),
    us: await keysOf(store('us')),
    cold: await keysOf(store('eu', 'cold')),
  })

  await t.test('uploads by a link are stored in its region, and served from it', async (t) => {
    const body = await makeImage()
    const us = await upload(app, await linkIn(app, 'us'), body)
    t.strictSame(await kept(), { eu: [], us: [us.id], cold: [] })
    t.strictSame(await read(app, us.id), body)

    const eu = await upload(app, await makeLink(app), await makeImage())
    t.strictSame(await kept(), { eu: [eu.id], us: [us.id], cold: [] }, 'without a name it is the first')

    await store('us').delete(us.id)
    await put(store('eu'), us.id, body)
    t.equal(await read(app, us.id), 500, 'and from nowhere else')
    await put(store('us'), us.id, body)
    await store('eu').delete(us.id)
  })

  await t.test('duplicates are found within a region', async (t) => {
    const body = await makeImage()
    const eu = await upload(app, await linkIn(app, 'eu'), body)
    const us = await upload(app, await linkIn(app, 'us'), body)
    t.not(us.id, eu.id)
    t.notOk(us.duplicate)
    // Twice: the second time the hash is remembered.
    for (const _ of [1, 2]) {
      t.match(await upload(app, await linkIn(app, 'eu'), body), { id: eu.id, duplicate: true })
      t.match(await upload(app, await linkIn(app, 'us'), body), { id: us.id, duplicate: true })
    }
    const racing = await makeImage()
    const links = await Promise.all(['eu', 'us', 'eu', 'us', 'eu', 'us'].map((name) => linkIn(app, name)))
    const ids = (await Promise.all(links.map((link) => upload(app, link, racing)))).map(({ id }) => id)
    t.strictSame(new Set(ids).size, 2, 'six that race end as two')
  })

  await t.test('the admin sees the region', async (t) => {
    const link = await linkIn(app, 'us')
    const { id } = await upload(app, link, await makeImage())
    const image = await app.inject({ url: `/admin/images/${id}`, headers: admin })
    t.equal(image.json().region, 'us')
    const shown = await app.inject({
      url: link.replace('/uploads/', '/admin/ephemeral-links/'),
      headers: admin,
    })
    t.equal(shown.json().region, 'us')
    const all = await app.inject({ url: '/admin/ephemeral-links', headers: admin })
    t.equal(all.json().items[0].region, 'us')
  })

  await t.test('an unknown region is refused with a list of the regions', async (t) => {
    for (const region of ['asia', '']) {
      const answer = await app.inject({
        method: 'POST',
        url: '/admin/ephemeral-links',
        headers: admin,
        body: { sinceNow: 'PT1H', region },
      })
      isProblem(t, answer, 400, region ? 'unknown-region' : 'invalid-request')
      if (region) t.match(answer.json().detail, /eu, us/)
    }
  })

  await t.test('the sweep respects the regions', async (t) => {
    await app.stores.data.sql`truncate images, uploads`
    for (const { store } of app.stores.objects.all)
      for (const key of await keysOf(store)) await store.delete(key)
    const [eu, us] = [
      await upload(app, await linkIn(app, 'eu'), await makeImage()),
      await upload(app, await linkIn(app, 'us'), await makeImage()),
    ]
    const at = new Date(Date.now() - 40 * DAY)
    await app.stores.data.sql`update images set last_accessed_at = ${at} where id in (${eu.id}, ${us.id})`
    await putOld(store('us'))
    await putOld(store('us'), eu.id)
    t.match(await sweep(app), { archived: 1, orphans: 1, copies: 1, missing: 0, failedSteps: 0 })
    const { cold, us: inUs } = await kept()
    t.strictSame(cold, [eu.id], 'a region without a cold store archives nothing')
    t.ok(inUs.includes(us.id))
    t.notOk(inUs.includes(eu.id), 'what strayed into another region goes')
    t.type(await read(app, eu.id), Buffer)

    for (const { id } of [eu, us])
      await app.inject({ method: 'DELETE', url: `/admin/images/${id}`, headers: admin })
    t.notOk(Object.values(await kept()).some((keys) => keys.includes(eu.id) || keys.includes(us.id)))
  })

  await t.test('/readyz names the region of the store that does not respond', async (t) => {
    await rm(join(folder, 'us', 'incoming'), { recursive: true })
    const answer = await app.inject('/readyz')
    t.equal(answer.statusCode, 503)
    t.match(answer.json().detail, /object store of us/)
  })
})

inTier.default('regions can be added to a service, and its images remain', async (t) => {
  const folder = newFolder(t)
  const env = { DATA_DIR: await dataDirWithLentDatabase(t), OBJECT_STORE_URL: `file://${folder}/first` }
  const before = await build(t, env)
  const body = await makeImage()
  const old = await upload(before, await makeLink(before), body)
  await before.close()

  const app = await build(t, { ...env, OBJECT_STORE_URLS: `us=file://${folder}/us` })
  t.strictSame(await read(app, old.id), body)
  t.match(await upload(app, await makeLink(app), body), { id: old.id, duplicate: true })
  t.notOk((await upload(app, await linkIn(app, 'us'), body)).duplicate)
  await app.close()

  const without = await openStores(readConfig(env), { attach: true })
  t.teardown(() => without.close())
  const summary = await createLifecycle({ stores: without, log, config: readConfig(env) }).sweep({
    signal: new AbortController().signal,
  })
  t.match(
    summary,
    { failedSteps: 1, missing: 0 },
    'a region that is no longer configured is no loss, but told',
  )
})

inTier.default('without regions, responses contain none', async (t) => {
  const app = await build(t)
  const link = await makeLink(app)
  const { id } = await upload(app, link, await makeImage())
  for (const url of [
    `/admin/images/${id}`,
    '/admin/images',
    '/admin/ephemeral-links',
    link.replace('/uploads/', '/admin/ephemeral-links/'),
  ]) {
    const answer = await app.inject({ url, headers: admin })
    t.equal(answer.statusCode, 200)
    t.notMatch(answer.body, /region/, url)
  }
  t.strictSame(await keysOf(objectsOf(app)), [id])
  const answer = await app.inject({
    method: 'POST',
    url: '/admin/ephemeral-links',
    headers: admin,
    body: { sinceNow: 'PT1H', region: 'eu' },
  })
  isProblem(t, answer, 400, 'unknown-region')
  t.match(answer.json().detail, /no regions/)
})
