import { randomBytes } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAnalysis } from '../../../services/analysis/index.ts'
import { newId } from '../../../services/ids.ts'
import { count } from '../../../stores/data/counts.ts'
import { retry } from '../../../stores/data/retry.ts'
import { type App, admin } from '../../helpers/app.ts'
import { eachDatabase } from '../../helpers/databases.ts'
import { makeImage } from '../../helpers/images.ts'
import {
  backdate,
  buildWithSweep,
  DAY,
  dump,
  GRACE,
  HOUR,
  keysOf,
  pathOf,
  put,
  putOld,
  sha256,
} from '../../helpers/lifecycle.ts'
import { until } from '../../helpers/server.ts'
import { tier } from '../../helpers/tiers.ts'

const get = (app: App, id: string) => app.inject(`/images/${id}`)
const content = (app: App, id: string) => app.inject({ url: `/admin/images/${id}/content`, headers: admin })
const stats = async (app: App) => (await app.inject({ url: '/admin/stats', headers: admin })).json()

/** An image that is too large to be analysed before the answer. */
const makeLarge = async () => Buffer.concat([await makeImage(), randomBytes(1_100_000)])

/** Has a worker settle the image as corrupt. */
async function makeCorrupt({ stores: { data } }: App, imageId: string) {
  const lease = await data.imageLeases.leaseOne({ imageId, token: newId(), milliseconds: HOUR })
  return data.imageLeases.settle(lease!, { status: 'corrupt', failure: 'it ends in the middle' })
}

eachDatabase(async (t, env) => {
  const { fresh } = await buildWithSweep(t, env)

  await t.test(
    'objects without an image go to the trash, objects of removed images and unfinished uploads are deleted',
    async (t) => {
      const { app, sweep, upload, objects, cold } = await fresh()
      const kept = await upload(await makeImage())
      const removed = await upload(await makeImage())
      await backdate(objects, kept.id, HOUR)
      // The kill came between the row and the object.
      await app.stores.data.images.remove(removed.id)
      await backdate(objects, removed.id, HOUR)
      const orphan = await putOld(objects)
      const coldOrphan = await putOld(cold)
      await putOld(objects, `incoming/${newId()}`)
      const foreign = join(dirname(dirname(pathOf(objects, 'incoming/x'))), 'notes.txt')
      await writeFile(foreign, 'not of Hasty')
      const shortName = await putOld(objects, 'abcdef')
      const young = newId()
      await put(objects, young, Buffer.from('in flight'))
      const youngLeftover = 'incoming/young'
      await writeFile(pathOf(objects, youngLeftover), '')
      // They stay younger than SWEEP_GRACE, however slow the machine is.
      for (const key of [young, youngLeftover]) await backdate(objects, key, -HOUR)

      const summary = await sweep()
      t.match(summary, { objects: 8, orphans: 2, leftovers: 2, copies: 0, missing: 0, failedSteps: 0 })
      t.strictSame(
        await keysOf(objects),
        [kept.id, shortName, `trash/${orphan}`, young, youngLeftover].sort(),
      )
      t.equal(await readFile(foreign, 'utf8'), 'not of Hasty')
      t.strictSame(await keysOf(cold), [`trash/${coldOrphan}`])
      t.equal((await get(app, kept.id)).statusCode, 200)

      t.match(await sweep({ sweepGrace: HOUR }), { objects: 6, orphans: 0, leftovers: 0, trashDeleted: 0 })
    },
  )

  await t.test('an object that gets its row between the two looks is not deleted', async (t) => {
    const { app, sweep, upload, objects } = await fresh()
    const { id } = await upload(await makeImage())
    await backdate(objects, id, HOUR)
    const { data } = app.stores
    let looks = 0
    const find: typeof data.lifecycle.find = async (ids) => (looks++ === 0 ? [] : data.lifecycle.find(ids))
    const stores = { ...app.stores, data: { ...data, lifecycle: { ...data.lifecycle, find } } }
    t.match(await sweep({}, { stores }), { orphans: 0 })
    t.ok(looks >= 2)
    t.equal((await get(app, id)).statusCode, 200)
  })

  await t.test('an image whose object is missing is reported and not changed', async (t) => {
    const { app, sweep, upload, objects, log } = await fresh()
    const images = await Promise.all(Array.from({ length: 20 }, async () => upload(await makeImage())))
    const lost = images[7]!
    await rm(pathOf(objects, lost.id))
    t.match(await sweep(), { missing: 1, failedSteps: 0 })
    t.match(log.lines.error, [{ imageId: lost.id, message: 'the object of an image is missing' }])
    t.match(await app.stores.data.images.find(lost.id), { status: 'ready', removedAt: null })

    const metrics = (await app.inject('/metrics')).body
    t.match(metrics, /^hasty_last_sweep_items\{kind="missing"\} 1$/m)
    t.match(metrics, /^hasty_last_sweep_items\{kind="objects"\} 19$/m)
    const [, finished] = /^hasty_last_sweep_timestamp_seconds ([\d.]+)$/m.exec(metrics)!
    t.ok(Math.abs(Number(finished) - Date.now() / 1000) < 60)
  })

  await t.test('a dry run reports what it would do and changes nothing', async (t) => {
    const { app, sweep, upload, age, objects, cold, log, stores } = await fresh()
    const [notAccessed, gone, damaged] = await Promise.all(
      [1, 2, 3].map(async () => upload(await makeImage())),
    )
    await age(notAccessed!.id, 3 * DAY)
    await age(gone!.id, 9 * DAY)
    await stores.data.sql`
      update images set status = 'corrupt', due_at = null, settled_at = now() - interval '9 days' where id = ${damaged!.id}`
    await putOld(objects)
    await putOld(objects, 'incoming/cut-off')
    await stores.data.sql`
      insert into upload_counts values ('day', '2020-01-01', 3, 1, 1), ('day', '2020-01-01', 4, 1, 1)`
    const before = [await dump(app), await keysOf(objects), await keysOf(cold)]

    const config = { archiveAfter: DAY, deleteAfter: 8 * DAY }
    const would = await sweep(config, { dryRun: true })
    t.match(would, {
      orphans: 1,
      leftovers: 1,
      archived: 2,
      notAccessed: 1,
      corrupt: 1,
      foldedDays: 1,
      failedSteps: 0,
    })
    t.match(log.lines.info, [{ dryRun: true, orphans: 1, message: /dry run/ }])
    t.strictSame([await dump(app), await keysOf(objects), await keysOf(cold)], before)

    // What is to be removed is not archived any more.
    t.match(await sweep(config), {
      orphans: 1,
      leftovers: 1,
      archived: 1,
      notAccessed: 1,
      corrupt: 1,
      foldedDays: 1,
    })
    t.match(await keysOf(objects), [/^trash\//])
    t.strictSame(await keysOf(cold), [notAccessed!.id])
  })

  await t.test('entries of the audit log are deleted after a year', async (t) => {
    const { sweep, stores } = await fresh()
    const { audit, sql } = stores.data
    const entry = { actor: 'root', tokenId: null, target: null, detail: null, address: '', status: 200 }
    await sql`delete from audit`
    for (const age of ['364 days', '366 days', '3 years']) {
      await audit.add({ ...entry, action: age })
      await sql`update audit set at = now() - ${age}::text::interval where action = ${age}`
    }
    t.match(await sweep({}, { dryRun: true }), { auditEntries: 2 })
    t.equal((await audit.page({ limit: 9 })).items.length, 3)
    t.match(await sweep(), { auditEntries: 2 })
    t.match((await audit.page({ limit: 9 })).items, [{ action: '364 days' }])
    t.match(await sweep(), { auditEntries: 0 })
  })

  await t.test('of two sweeps at the same time, one reports that another process is sweeping', async (t) => {
    const { sweep, objects, log } = await fresh()
    await putOld(objects)
    const summaries = await Promise.all([sweep(), sweep()])
    t.equal(summaries.filter((summary) => summary === undefined).length, 1)
    t.equal(summaries.find(Boolean)?.orphans, 1)
    t.match(log.lines.info, [{ message: 'another process is sweeping' }, { message: 'sweep finished' }])
    t.ok(await sweep(), 'the lease was released')
  })

  await t.test('nothing is deleted if the database has rows for only a few of the objects', async (t) => {
    const { sweep, upload, objects, stores, log } = await fresh()
    const images = []
    for (let n = 0; n < 23; n++) images.push(await upload(await makeImage()))
    for (const { id } of images) await backdate(objects, id, HOUR)
    // As with the wrong database, or a very old backup.
    await stores.data.sql`delete from images where id <> all(${images.slice(0, 11).map(({ id }) => id)})`
    t.match(await sweep(), { orphans: 0, failedSteps: 1 })
    t.match(log.lines.error, [{ step: 'reconcile', err: /12 objects have no image, and only 11 have one/ }])
    t.strictSame(await keysOf(objects), images.map(({ id }) => id).sort())
    t.match(await sweep({}, { force: true }), { orphans: 12, failedSteps: 0 })
    t.equal((await keysOf(objects)).filter((key) => key.startsWith('trash/')).length, 12)
  })

  await t.test('after a restore of an older database, --adopt returns all newer images', async (t) => {
    const { app, sweep, upload, objects, stores, log } = await fresh()
    const bodies = []
    for (let n = 0; n < 30; n++) bodies.push(await makeImage())
    const images: { id: string; hash: string }[] = []
    for (const body of bodies) images.push(await upload(body))
    for (const { id } of images) await backdate(objects, id, HOUR)
    const newer = images.slice(20)
    const noImage = await putOld(objects)
    const ids = newer.map(({ id }) => id)
    await stores.data.sql`delete from uploads where image_id = any(${ids})`
    await stores.data.sql`delete from images where id = any(${ids})`
    // One was uploaded again after the restore: its content has an image.
    const again = await upload(bodies[29]!)

    t.match(await sweep(), { orphans: 11, failedSteps: 0 }, 'a sweep moves them to the trash')
    t.match(await sweep({}, { adopt: true, dryRun: true }), { adopted: 10 })
    t.match(await sweep({}, { adopt: true }), { adopted: 9, failedSteps: 0 })
    for (const { id, hash } of newer.slice(0, -1)) {
      t.match(await stores.data.images.find(id), { hash, status: 'pending' })
      t.equal(sha256((await get(app, id)).rawPayload), hash)
    }
    t.strictSame(
      (await keysOf(objects)).filter((key) => key.startsWith('trash/')),
      [`trash/${noImage}`, `trash/${images[29]!.id}`].sort(),
      'an object that is not an image, or a copy of an image, stays in the trash',
    )
    const stop = new AbortController()
    const running = createAnalysis({ stores, accept: undefined, log, concurrency: 1 }).run(stop.signal)
    await until(async () => (await stores.queue.waiting()) === 0 || undefined, 60_000)
    stop.abort()
    await running
    for (const { id, hash } of [...images.slice(0, 29), again]) {
      t.match(await stores.data.images.find(id), { status: 'ready', hash })
      t.equal(sha256((await get(app, id)).rawPayload), hash)
    }
    t.match(await sweep(), { orphans: 0, missing: 0, failedSteps: 0 })
  })

  await t.test('an object is deleted from the trash after TRASH_FOR, unless its image is back', async (t) => {
    const { app, sweep, upload, objects, stores } = await fresh()
    const kept = await upload(await makeImage())
    const back = await upload(await makeImage())
    for (const { id } of [kept, back]) await backdate(objects, id, HOUR)
    const [orphan, later] = [await putOld(objects), await putOld(objects)]
    const { sql } = stores.data
    const [row] = await sql<{ hash: string; size: number }[]>`
      delete from images where id = ${back.id} returning hash, size`
    t.match(await sweep({ trashFor: 7 * DAY }), { orphans: 3, trashDeleted: 0 })
    await backdate(objects, `trash/${orphan}`, 8 * DAY)
    await backdate(objects, `trash/${back.id}`, 8 * DAY)
    await sql`
      insert into images (id, hash, size, status, format, media_type)
      values (${back.id}, ${row!.hash}, ${row!.size}, 'ready', 'PNG', 'image/png')`
    t.match(await sweep({ trashFor: 7 * DAY }), { trashDeleted: 1, trashRestored: 1, missing: 0 })
    t.strictSame(await keysOf(objects), [kept.id, back.id, `trash/${later}`].sort())
    t.equal((await get(app, back.id)).statusCode, 200)
  })

  await t.test(
    'pending images that no worker has leased are announced, and leases of dead workers end',
    async (t) => {
      const { sweep, upload, stores } = await fresh()
      const [lost, dead, alive, waiting] = await Promise.all(
        [1, 2, 3, 4].map(async () => upload(await makeLarge())),
      )
      const { images, imageLeases, sql } = stores.data
      const lease = (imageId: string) =>
        imageLeases.leaseOne({ imageId, token: newId(), milliseconds: 60_000 })
      const deadLease = await lease(dead!.id)
      const aliveLease = await lease(alive!.id)
      await sql`update images set due_at = now() - interval '10 minutes' where id in (${lost!.id}, ${dead!.id})`
      const announced: string[] = []
      const queue = { ...stores.queue, announce: (id: string) => announced.push(id) }
      t.match(await sweep({}, { stores: { ...stores, queue } }), { announced: 2, expiredLeases: 1 })
      t.strictSame(announced.sort(), [lost!.id, dead!.id].sort())
      const verdict = { status: 'failed' as const, failure: 'of the test' }
      t.equal(await imageLeases.settle(deadLease!, verdict), false)
      t.equal(await imageLeases.settle(aliveLease!, verdict), true)
      t.equal((await images.find(waiting!.id))?.status, 'pending')
    },
  )

  await t.test('a corrupt image is kept for CORRUPT_GRACE, then removed', async (t) => {
    const { app, sweep, upload, objects, stores } = await fresh()
    const body = await makeLarge()
    const { id } = await upload(body)
    t.equal(await makeCorrupt(app, id), true)

    const refused = await get(app, id)
    t.equal(refused.statusCode, 410)
    t.match(refused.json(), { title: 'The image is damaged' })
    const shown = await content(app, id)
    t.equal(shown.statusCode, 200)
    t.ok(shown.rawPayload.equals(body))
    t.match(shown.headers, {
      'content-type': 'image/png',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    t.equal((await app.inject(`/admin/images/${id}/content`)).statusCode, 401)
    t.match((await app.inject({ url: `/admin/images/${id}`, headers: admin })).json(), {
      status: 'corrupt',
      failure: 'it ends in the middle',
      tier: 'hot',
    })

    t.match(await upload(body), { id, duplicate: true, status: 'corrupt' })
    t.equal(await makeCorrupt(app, id), true, 'it is analysed again, with the same result')
    const { popularFormat, top10CameraModels, uploadFrequency30Days } = await stats(app)
    t.equal(popularFormat, undefined, 'it is not counted for a format')
    t.strictSame(top10CameraModels, [])
    t.match(uploadFrequency30Days, [{ uploads: 2 }], 'but for its day')

    t.match(await sweep({ corruptGrace: HOUR, archiveAfter: 1 }), { corrupt: 0, archived: 0, failedSteps: 0 })
    await stores.data.sql`update images set settled_at = now() - interval '2 hours' where id = ${id}`
    t.match(await sweep({ corruptGrace: HOUR }), { corrupt: 1, failedSteps: 0 })
    t.strictSame(await keysOf(objects), [])
    t.match((await get(app, id)).json(), { status: 410, title: 'The image is gone' })
    t.equal((await content(app, id)).statusCode, 410)
    const again = await upload(body)
    t.not(again.id, id)
    t.match(again, { duplicate: false, status: 'pending' })
  })

  await t.test('an image that nobody accesses is archived, and moved back after an access', async (t) => {
    const { app, sweep, upload, age, objects, cold, tierOf } = await fresh()
    const body = Buffer.concat([await makeImage('png'), randomBytes(600_000)])
    const { id } = await upload(body)
    const asked = await upload(await makeImage())
    t.match(await sweep({ archiveAfter: 10 * DAY }), { archived: 0 })
    await age(id, 12 * DAY)
    await age(asked.id, 9 * DAY)
    t.equal((await get(app, id)).statusCode, 200, 'now its row is cached')
    await app.services.lastAccess.flush()
    await age(id, 12 * DAY)

    t.match(await sweep({ archiveAfter: 10 * DAY }), { archived: 1, restored: 0, failedSteps: 0 })
    t.strictSame([await keysOf(objects), await keysOf(cold)], [[asked.id], [id]])
    const got = await get(app, id)
    t.equal(sha256(got.rawPayload), sha256(body))
    const range = await app.inject({ url: `/images/${id}`, headers: { range: 'bytes=600000-' } })
    t.equal(range.statusCode, 206)
    t.ok(range.rawPayload.equals(body.subarray(600_000)))
    t.ok((await content(app, id)).rawPayload.equals(body))
    t.match(await upload(body), { id, duplicate: true }, 'an archived image is a known duplicate')

    await app.services.lastAccess.flush()
    t.match(await sweep({ archiveAfter: 10 * DAY }), { archived: 0, restored: 1, failedSteps: 0 })
    t.strictSame([await keysOf(objects), await keysOf(cold)], [[asked.id, id].sort(), []])
    t.equal(
      sha256((await get(app, id)).rawPayload),
      sha256(body),
      'although the cached row names the other store',
    )
    t.equal(await tierOf(id), 'hot')
    t.match(await sweep({ archiveAfter: 10 * DAY }), { archived: 0, restored: 0 })

    await age(id, 12 * DAY)
    t.match(await sweep({ archiveAfter: 10 * DAY }), { archived: 1 })
    t.match(await sweep({}), { restored: 1 }, 'without ARCHIVE_AFTER everything comes back')
  })

  await t.test('an image whose object has changed is not moved', async (t) => {
    const { sweep, upload, age, objects, cold, log, tierOf } = await fresh()
    const rotten = await upload(await makeImage())
    const sound = await upload(await makeImage())
    await age(rotten.id, 9 * DAY)
    await age(sound.id, 8 * DAY)
    await writeFile(pathOf(objects, rotten.id), 'other bytes')
    t.match(await sweep({ archiveAfter: DAY }), { archived: 1, moveFailures: 1 })
    t.match(log.lines.error, [{ imageId: rotten.id, err: /SHA-256 is wrong/ }])
    t.equal(await tierOf(rotten.id), 'hot')
    t.strictSame([await keysOf(objects), await keysOf(cold)], [[rotten.id], [sound.id]])
  })

  await t.test('the last copy of an image is not deleted, in any store', async (t) => {
    const { sweep, upload, objects, cold, stores } = await fresh()
    const { id } = await upload(await makeImage())
    await backdate(objects, id, HOUR)
    await stores.data
      .sql`update images set tier = 'cold', last_accessed_at = now() - interval '9 days' where id = ${id}`
    t.match(await sweep({ archiveAfter: DAY }), { copies: 0, missing: 1 })
    t.strictSame(await keysOf(objects), [id])
    await put(cold, id, Buffer.from('shorter'))
    t.match(await sweep({ archiveAfter: DAY }), { copies: 0 })
    t.strictSame(await keysOf(objects), [id])
  })

  await t.test('images that nobody accessed in DELETE_AFTER are removed from both stores', async (t) => {
    const { app, sweep, upload, age, objects, cold } = await fresh()
    const body = await makeImage()
    const archived = await upload(body)
    const old = await upload(await makeImage())
    const asked = await upload(await makeImage())
    const sentAgain = await makeImage()
    const known = await upload(sentAgain)
    await age(archived.id, 3 * DAY)
    t.match(await sweep({ archiveAfter: DAY }), { archived: 1 })
    for (const { id } of [archived, old, asked, known]) await age(id, 12 * DAY)
    t.equal((await get(app, asked.id)).statusCode, 200)
    await app.services.lastAccess.flush()
    t.match(await upload(sentAgain), { id: known.id, duplicate: true })

    t.match(await sweep({ deleteAfter: 10 * DAY, archiveAfter: DAY }), { notAccessed: 2, failedSteps: 0 })
    t.strictSame(await keysOf(objects), [asked.id])
    t.strictSame(await keysOf(cold), [known.id])
    t.equal((await get(app, old.id)).statusCode, 410)
    t.equal((await get(app, archived.id)).statusCode, 410)
    t.equal((await get(app, known.id)).statusCode, 200, 'it was uploaded again')
    t.not((await upload(body)).id, archived.id)
  })

  await t.test(
    'an archived image is verified in the cold store, and a removed one is not verified',
    async (t) => {
      const { app, sweep, upload, age, stores, log, tierOf } = await fresh()
      const { id } = await upload(await makeImage())
      const old = await upload(await makeImage())
      await age(id, 3 * DAY)
      await age(old.id, 12 * DAY)
      t.match(await sweep({ archiveAfter: DAY, deleteAfter: 10 * DAY }), { archived: 1, notAccessed: 1 })
      t.equal(await stores.queue.waiting(), 1)

      const stop = new AbortController()
      const running = createAnalysis({ stores, accept: undefined, log, concurrency: 1 }).run(stop.signal)
      await until(async () => (await stores.queue.waiting()) === 0 || undefined)
      stop.abort()
      await running
      t.equal(await tierOf(id), 'cold')
      t.match(await stores.data.images.find(id), { status: 'ready', placeholder: String })
      t.match(await stores.data.images.find(old.id), { status: 'removed', removedAt: Date })
      t.equal((await get(app, id)).statusCode, 200)
    },
  )

  await t.test('the admin removes an archived image', async (t) => {
    const { app, sweep, upload, age, objects, cold } = await fresh()
    const body = await makeImage()
    const { id } = await upload(body)
    await age(id, 3 * DAY)
    await sweep({ archiveAfter: DAY })
    await put(objects, id, body) // as when it is on its way
    const answer = await app.inject({ method: 'DELETE', url: `/admin/images/${id}`, headers: admin })
    t.equal(answer.statusCode, 204)
    t.strictSame([await keysOf(objects), await keysOf(cold)], [[], []])
    t.equal((await get(app, id)).statusCode, 410)
    const again = await upload(body)
    t.match(again, { duplicate: false })
    t.ok((await get(app, again.id)).rawPayload.equals(body))
  })

  await t.test('the time of the last access is not written for each request', async (t) => {
    const { app, upload, age, stores } = await fresh()
    const images = await Promise.all(Array.from({ length: 5 }, async () => upload(await makeImage())))
    const [old, recent] = images
    await age(old!.id, 2 * DAY)
    await age(recent!.id, 2 * HOUR)
    const versions = async () =>
      Object.fromEntries(
        (
          await stores.data.sql<{ id: string; xmin: string; idle: number }[]>`
          select id, xmin::text, extract(epoch from now() - last_accessed_at)::double precision as idle from images`
        ).map(({ id, ...row }) => [id, row]),
      )
    const before = await versions()
    for (let n = 0; n < 100; n++) for (const { id } of images) await get(app, id)
    // The accesses may have been written once by now, where the machine is slow: of the one that was due.
    const due = ([id]: [string, unknown]) => id === old!.id
    const rest = (rows: Awaited<ReturnType<typeof versions>>) =>
      Object.entries(rows).flatMap((row) => (due(row) ? [] : [row[1].xmin]))
    t.strictSame(
      rest(await versions()),
      rest(before),
      'nothing is written for images that were accessed recently',
    )
    await app.services.lastAccess.flush()
    const after = await versions()
    const written = images.filter(({ id }) => before[id]!.xmin !== after[id]!.xmin)
    t.strictSame(written, [old], 'only the one that is older than a day')
    t.ok(after[old!.id]!.idle < 60)
  })

  await t.test('the counts stay exact if days are folded during uploads', async (t) => {
    const { app, sweep, upload, stores } = await fresh()
    const { sql, links } = stores.data
    // A day that is past, to which uploads still come in: those that began before midnight.
    await Promise.all(Array.from({ length: 50 }, async () => upload(await makeImage())))
    await sql`update upload_counts set key = '2020-02-02' where kind = 'day'`
    await sql`insert into upload_counts values ('day', '2020-02-03', 1, 0, 0), ('day', '2020-02-04', 2, 3, 30), ('day', '2020-02-04', 5, -3, -30)`
    const link = await links.insert({
      id: newId(),
      label: null,
      region: '',
      maxImages: null,
      maxBytes: null,
      expiresAt: new Date(Date.now() + HOUR),
    })
    let added = 0
    const adding = Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let n = 0; n < 25; n++) {
          await retry(() =>
            sql.begin((sql) =>
              count(sql, [
                { kind: 'day', key: '2020-02-02', uploads: 1, bytes: 10 },
                { kind: 'link', key: link.id, uploads: 1, bytes: 10 },
              ]),
            ),
          )
          added++
        }
      }),
    )
    let going = true
    const done = adding.then(() => {
      going = false
    })
    let folds = 0
    while (going) {
      const days = await stores.data.lifecycle.daysToFold(10)
      for (const day of days) await stores.data.lifecycle.foldDay(day)
      folds += days.length
    }
    await done
    t.ok(folds > 1, `${folds} folds`)
    await sweep()
    const rows = await sql`select key, shard, uploads from upload_counts where kind = 'day'`
    t.strictSame([...rows], [{ key: '2020-02-02', shard: 0, uploads: 50 + added }])
    t.equal(added, 200)
    t.match(await stats(app), { uploadFrequency30Days: [] })
  })

  await t.test('several workers with timers sweep one at a time, and not too often', async (t) => {
    const { sweepPeriodically, log } = await fresh()
    const every = 300
    const sweeps = () => log.lines.info.filter((line) => 'objects' in line).length
    const stop = new AbortController()
    const start = performance.now()
    const working = [1, 2, 3].map(() => sweepPeriodically(stop.signal, every))
    await until(async () => sweeps() >= 2 || undefined)
    await sleep(every)
    stop.abort()
    await Promise.all(working)
    const most = 1 + (performance.now() - start) / (every / 2)
    t.ok(sweeps() <= most, `${sweeps()} sweeps by 3 workers, at most ${most.toFixed(0)}`)
    t.strictSame(log.lines.error, [])
  })

  await t.test('no image is lost that is uploaded during sweeps', async (t) => {
    const { app, sweep, upload, log, objects } = await fresh()
    const each = tier === 'engines' ? 50 : 8
    let uploading = true
    const sweeping = (async () => {
      let sweeps = 0
      for (; uploading; sweeps++) {
        await putOld(objects)
        await sweep({ sweepGrace: 1_000 })
      }
      return sweeps
    })()
    const answered: { id: string; hash: string }[] = []
    const one = await makeImage('png')
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        for (let n = 0; n < each; n++) {
          answered.push(await upload(Buffer.concat([one, randomBytes(20_000)])))
          if (n % 5 === 0) await upload(one)
          await sleep(40)
        }
      }),
    )
    uploading = false
    t.ok((await sweeping) >= 1, `${await sweeping} sweeps`)
    await sleep(GRACE)
    t.match(await sweep(), { missing: 0, failedSteps: 0 })
    let wrong = 0
    for (const { id, hash } of answered) if (sha256((await get(app, id)).rawPayload) !== hash) wrong++
    t.equal(answered.length, 10 * each)
    t.equal(wrong, 0)
    t.equal((await keysOf(objects)).filter((key) => !key.startsWith('trash/')).length, 10 * each + 1)
    t.strictSame(log.lines.error, [])
  })
})
