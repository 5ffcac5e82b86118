import { renameSync } from 'node:fs'
import { createLog } from '../../../process/log.ts'
import type { Image } from '../../../schemas/images.ts'
import { createAnalysis } from '../../../services/analysis/index.ts'
import { createObjectStores } from '../../../stores/objects/index.ts'
import { type HasPaths, hasPaths, type ObjectStore } from '../../../stores/objects/object-store.ts'
import { StoreUnavailable } from '../../../stores/unavailable.ts'
import { type App, admin, build, makeLink, objectsOf } from '../../helpers/app.ts'
import { eachDatabase } from '../../helpers/databases.ts'
import { makeImage } from '../../helpers/images.ts'
import { putVariant } from '../../helpers/lifecycle.ts'
import { multipart } from '../../helpers/multipart.ts'
import { until } from '../../helpers/pending.ts'
import { inTier } from '../../helpers/tiers.ts'

const show = async (app: App, id: string) =>
  (await app.inject({ url: `/admin/images/${id}`, headers: admin })).json() as Image

/** How many uploads count towards today, a format and a model. */
async function counted(app: App, model: string) {
  const stats = (await app.inject({ url: '/admin/stats', headers: admin })).json()
  return {
    today: stats.uploadFrequency30Days[0]?.uploads ?? 0,
    format: stats.popularFormat?.uploads ?? 0,
    model: stats.top10CameraModels.find((top: { model: string }) => top.model === model)?.uploads ?? 0,
  }
}

async function upload(app: App, ...bodies: Buffer[]) {
  const answer = await app.inject({
    method: 'POST',
    url: await makeLink(app),
    ...multipart(bodies.map((body) => ({ body }))),
  })
  return answer.json().processed as (Image & { metadata: Image })[]
}

/** Runs a worker's analysis until nothing waits, or until `finished`. */
async function analyse(
  app: App,
  accept?: Set<string>,
  finished = async () => (await app.stores.queue.waiting()) === 0,
) {
  const stop = new AbortController()
  const log = createLog({ ...app.config, logLevel: 'silent' }, 'test')
  const running = createAnalysis({ stores: app.stores, accept, log, concurrency: 1 }).run(stop.signal)
  try {
    await until(finished, 60_000)
  } finally {
    stop.abort()
    await running
  }
}

const small = { width: 30, height: 20 }
const large = { width: 90, height: 60 }

eachDatabase(async (t, env) => {
  const app = await build(t, { ...env, INLINE_LIMIT: '4KiB' })

  await t.test('an image that is ready after its upload is verified by the worker', async (t) => {
    const whole = await makeImage('png', small)
    const cut = whole.subarray(0, whole.indexOf('IDAT') + 6)
    const [first, second] = await upload(app, await makeImage('jpeg', { ...small, model: 'Box 1' }), cut)
    t.match([first, second], [{ status: 'ready' }, { status: 'ready' }])
    t.equal(await app.stores.queue.waiting(), 2)
    t.strictSame(await counted(app, 'unknown'), { today: 2, format: 1, model: 1 })

    await analyse(app)
    t.match(await show(app, first!.id), {
      status: 'ready',
      cameraModel: 'Box 1',
      placeholder: /.{20}/,
      failure: undefined,
    })
    t.match(await show(app, second!.id), {
      status: 'corrupt',
      width: 30,
      failure: /damaged or cut off/,
    })
    t.match(await counted(app, 'unknown'), { today: 2, model: 0 }, 'what is corrupt counts towards no camera')
    t.match(await counted(app, 'Box 1'), { today: 2, model: 1 }, 'and what is verified as before')
    const [again] = await upload(app, cut)
    t.match(again, {
      id: second!.id,
      status: 'corrupt',
      duplicate: true,
      metadata: { width: 30, shownWidth: 30 },
    })
  })

  await t.test('an image over INLINE_LIMIT is described by its front, then by the worker', async (t) => {
    const [uploaded] = await upload(app, await makeImage('jpeg', { ...large, model: 'Box 2' }))
    t.match(uploaded, { status: 'pending', metadata: { cameraModel: 'Box 2', width: 90 } })
    t.match(await counted(app, 'Box 2'), { today: 4, model: 0 }, 'it counts when it is known')
    await analyse(app)
    t.match(await show(app, uploaded!.id), { status: 'ready', cameraModel: 'Box 2', placeholder: String })
    t.match(await counted(app, 'Box 2'), { today: 4, format: 2, model: 1 })
  })

  await t.test('the worker rejects a file that is no accepted image, and deletes its objects', async (t) => {
    const before = await counted(app, '')
    const objects = await Array.fromAsync(objectsOf(app).list())
    const broken = Buffer.concat([(await makeImage('jpeg')).subarray(0, 20), Buffer.alloc(300_000)])
    const [png, none] = await upload(app, await makeImage('png', large), broken)
    t.match([png, none], [{ status: 'pending' }, { status: 'pending' }])
    await putVariant(app, png!.id)
    await analyse(app, new Set(['image/jpeg']))
    t.match(await show(app, png!.id), {
      status: 'rejected',
      failure: 'image/png is not accepted by this server',
    })
    t.match(await show(app, none!.id), { status: 'rejected', failure: /no readable header/ })
    t.equal((await app.inject(`/images/${png!.id}`)).statusCode, 410)
    t.equal((await Array.fromAsync(objectsOf(app).list())).length, objects.length)
    t.equal((await app.stores.data.sql`select spec from variants`).length, 0, 'also the variants')
    t.strictSame(await counted(app, ''), before)
  })

  await t.test('an image whose object cannot be read waits, and the others are analysed', async (t) => {
    const [lost, good] = await upload(app, await makeImage('png', large), await makeImage('png', large))
    const objects = objectsOf(app)
    if (!hasPaths(objects)) throw new Error('objects are files here')
    renameSync(objects.path(lost!.id), `${objects.path(lost!.id)}-elsewhere`)
    const { sql } = app.stores.data
    const delayed = async (times: number) => {
      const [row] = await sql`select 1 from images where id = ${lost!.id} and delays >= ${times}`
      if (!row) await sql`update images set due_at = now() where id = ${lost!.id} and lease is null`
      return row !== undefined
    }
    await analyse(app, undefined, () => delayed(5))
    t.match(await show(app, good!.id), { status: 'ready' })
    t.match(await show(app, lost!.id), { status: 'pending', failure: /There is no object/ })

    renameSync(`${objects.path(lost!.id)}-elsewhere`, objects.path(lost!.id))
    await sql`update images set due_at = now() where id = ${lost!.id}`
    await analyse(app)
    t.match(await show(app, lost!.id), { status: 'ready' }, 'when the object is back')
  })

  await t.test('a corrupt image that is sent again is analysed again', async (t) => {
    const picture = await makeImage('png', { width: 31, height: 21 })
    const [corrupt] = await upload(app, picture)
    const { sql } = app.stores.data
    const isDue = async () =>
      (await sql`select due_at is not null as due from images where id = ${corrupt!.id}`)[0]?.due
    // As an older decoder has left it.
    await sql`
      update images set status = 'corrupt', failure = 'damaged', due_at = null, settled_at = now()
      where id = ${corrupt!.id}`
    const [again] = await upload(app, picture)
    t.match(again, { id: corrupt!.id, duplicate: true, status: 'corrupt' })
    t.equal(await isDue(), true)
    await analyse(app)
    t.match(await show(app, corrupt!.id), { status: 'ready', placeholder: String })
    t.equal((await app.inject(`/images/${corrupt!.id}`)).statusCode, 200)
    await upload(app, picture)
    t.equal(await isDue(), false, 'an image that is ready is not')
  })
})

inTier.default('an attempt does not count if the object store does not answer', async (t) => {
  const app = await build(t, { INLINE_LIMIT: '0' })
  const [image] = await upload(app, await makeImage('png', small))
  const { data, queue } = app.stores
  let tries = 0
  const fail = async () => {
    tries++
    throw new StoreUnavailable('object store', { cause: new Error('503') })
  }
  const { path: _, ...withoutPaths } = objectsOf(app) as ObjectStore & HasPaths
  const store = { ...withoutPaths, get: fail }
  const objects = createObjectStores([{ location: { region: '', tier: 'hot' }, store }])
  const stores = { ...app.stores, objects }
  const stop = new AbortController()
  const log = createLog({ ...app.config, logLevel: 'silent' }, 'test')
  const running = createAnalysis({ stores, accept: undefined, log, concurrency: 1 }).run(stop.signal)
  // One more than an image has attempts.
  for (let n = 1; n <= 4; n++) {
    await until(async () => tries === n, 60_000)
    // It waits some seconds, so that others go first: those are over now.
    await until(async () => (await data.sql`update images set due_at = now() where lease is null`).count > 0)
  }
  stop.abort()
  await running
  t.match(await show(app, image!.id), { status: 'pending' })
  const [row] = await data.sql<{ attempts: number }[]>`select attempts from images`
  t.equal(row!.attempts, 0)

  await analyse(app)
  t.match(await show(app, image!.id), { status: 'ready' })
  t.equal(await queue.waiting(), 0)
})
