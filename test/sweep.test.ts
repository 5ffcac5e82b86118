import { randomBytes } from 'node:crypto'
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { newId } from '../services/ids.ts'
import { openDataStore } from '../stores/data/index.ts'
import { admin, build, makeLink } from './helpers/app.ts'
import { dataDirWithLentDatabase } from './helpers/embedded.ts'
import { newFolder } from './helpers/folder.ts'
import { makeImage } from './helpers/images.ts'
import { sha256 } from './helpers/lifecycle.ts'
import { startPostgres } from './helpers/postgres.ts'
import { listImages, post, startServer, until } from './helpers/server.ts'
import { startSweep, summaryOf } from './helpers/sweep.ts'
import { inTier, tier, times } from './helpers/tiers.ts'

const DAY_S = 86_400

function putOld(folder: string, key = newId()) {
  const shard = join(folder, key.slice(0, 2))
  mkdirSync(shard, { recursive: true })
  writeFileSync(join(shard, key), 'of no image')
  const at = Date.now() / 1000 - DAY_S
  utimesSync(join(shard, key), at, at)
}

/** A service that listens in this process. Others can connect to its database. */
async function listen(t: Test, env: Record<string, string> = {}) {
  const app = await build(t, env)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { url, DATA_DIR: app.config.dataDir, makeLink: async () => url + (await makeLink(app)) }
}

inTier.default('a sweep beside a server can be a dry run, and can be refused and stopped', async (t) => {
  const server = await listen(t)
  const { DATA_DIR } = server
  const objects = join(DATA_DIR, 'objects')
  const kept = await post(await server.makeLink(), await makeImage())
  for (let n = 0; n < 3; n++) putOld(objects)

  const dry = await startSweep(t, { DATA_DIR }, ['--dry-run']).ended
  t.equal(dry.code, 0, dry.output)
  t.match(summaryOf(dry.output), { dryRun: true, objects: 4, orphans: 3 })
  t.match(await startSweep(t, { DATA_DIR }).ended, { code: 0 })
  t.match(summaryOf((await startSweep(t, { DATA_DIR }, ['--dry-run']).ended).output), {
    objects: 4,
    orphans: 0,
  })
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  t.match(
    metrics,
    /^hasty_last_sweep_items\{kind="orphans"\} 3$/m,
    'the API reports what another process did',
  )
  t.equal((await fetch(`${server.url}/images/${kept.id}`)).status, 200)

  t.match(await startSweep(t, { DATA_DIR }, ['--dryrun']).ended, { code: 1, output: /--dryrun/ })

  putOld(objects)
  const first = startSweep(t, { DATA_DIR, SWEEP_GRACE: 'PT1M' })
  const data = await openDataStore({ dataDir: DATA_DIR, databaseUrl: undefined }, { attach: true })
  await until(async () => (await data.sql`select 1 from leases where name = 'sweep'`)[0])
  const second = await startSweep(t, { DATA_DIR }).ended
  t.match(second, { code: 0, output: /another process is sweeping/ })
  first.child.kill('SIGTERM')
  t.match(await first.ended, { code: 0, output: /the sweep was interrupted/ })
  t.strictSame([...(await data.sql`select name from leases`)], [], 'the lease was released')
  await data.close()
  t.match(summaryOf((await startSweep(t, { DATA_DIR }).ended).output), { orphans: 1 })
})

inTier.default('an access just before the end of a process is stored', async (t) => {
  const DATA_DIR = newFolder(t)
  const server = await startServer(t, { DATA_DIR, WORKER_PROCESSES: '0' }, { database: 'lent' })
  const { id } = await post(await server.makeLink(), await makeImage())
  const where = { dataDir: DATA_DIR, databaseUrl: undefined }
  const beside = await openDataStore(where, { attach: true })
  await beside.sql`update images set last_accessed_at = now() - interval '9 days'`
  await beside.close()
  t.equal((await fetch(`${server.url}/images/${id}`)).status, 200)
  t.equal(await server.end('SIGTERM'), 0)
  const data = await openDataStore(where, { attach: true })
  t.teardown(() => data.close())
  const [row] = await data.sql`select last_accessed_at > now() - interval '1 minute' as recent from images`
  t.strictSame(row, { recent: true })
})

const IMAGES = 20_000
inTier.campaign(`a sweep over ${IMAGES} images needs little more memory than one over none`, async (t) => {
  const DATA_DIR = await dataDirWithLentDatabase(t)
  const objects = join(DATA_DIR, 'objects')
  // Without room to put off the collecting of garbage.
  const NODE_OPTIONS = '--max-old-space-size=64 --max-semi-space-size=1'
  const few = await startSweep(t, { DATA_DIR, NODE_OPTIONS }).ended
  t.equal(few.code, 0, few.output)

  const data = await openDataStore({ dataDir: DATA_DIR, databaseUrl: undefined }, { attach: true })
  await data.sql`
    insert into images (id, hash, size, status, format, media_type)
    select substr(md5(n::text) || md5('a' || n), 1, 48), md5(n::text) || md5('b' || n), 11, 'ready', 'PNG', 'image/png'
    from generate_series(1, ${IMAGES}::integer) as n`
  for (const { id } of await data.sql<{ id: string }[]>`select id from images`) putOld(objects, id)
  const lost = await data.sql<{ id: string }[]>`
    insert into images (id, hash, size, status, format, media_type)
    select substr(md5('c' || n), 1, 32) || '0123456789abcdef', 'c' || n, 11, 'ready', 'PNG', 'image/png'
    from generate_series(1, 50) as n returning id`
  for (let n = 0; n < 200; n++) putOld(objects)
  await data.close()

  const many = await startSweep(t, { DATA_DIR, NODE_OPTIONS }).ended
  t.equal(many.code, 0)
  const summary = summaryOf(many.output)
  t.match(summary, { objects: IMAGES + 200, orphans: 200 })
  t.ok(
    summary.missing >= lost.length * 0.9 && summary.missing <= lost.length,
    `${summary.missing} missing of 50`,
  )
  t.comment(
    `${few.peakMiB.toFixed(0)} MiB over none, ${many.peakMiB.toFixed(0)} MiB over ${IMAGES + 200}, ${summary.durationMs} ms`,
  )
  t.ok(many.peakMiB - few.peakMiB < 60, `${(many.peakMiB - few.peakMiB).toFixed(0)} MiB more`)
})

const ROUNDS = times(2, 8)
const IMAGES_OF_KILLS = times(40, 100)
if (tier !== 'engines')
  t.test('sweeps that are killed at any moment lose no image and leave one copy of each', async (t) => {
    const COLD_STORE_URL = pathToFileURL(join(newFolder(t), 'cold')).href
    const server = await listen(t, { COLD_STORE_URL })
    const { DATA_DIR } = server
    const env = { DATA_DIR, COLD_STORE_URL }
    const link = await server.makeLink()
    const one = await makeImage()
    const images = await Promise.all(
      Array.from({ length: IMAGES_OF_KILLS }, () => post(link, Buffer.concat([one, randomBytes(100_000)]))),
    )
    const data = await openDataStore({ dataDir: DATA_DIR, databaseUrl: undefined }, { attach: true })
    t.teardown(() => data.close())

    // On a slow machine some may still be pending. Only settled images are archived.
    await data.sql`update images set status = 'ready'`
    let killed = 0
    let moved = 0
    for (let round = 0; round < ROUNDS; round++) {
      const isOld = round % 4 < 2
      await data.sql`update images set last_accessed_at = now() - ${isOld ? 9 : 0} * interval '1 day'`
      await data.sql`delete from leases`
      const sweep = startSweep(t, { ...env, ARCHIVE_AFTER: 'P1D' })
      // On a fast machine it may be done before it was seen at work.
      const atWork = until(async () => (await data.sql`select 1 from leases where name = 'sweep'`)[0])
      await Promise.race([atWork, sweep.ended])
      atWork.catch(() => {})
      // The first one is killed while it moves images, and the others at any moment.
      if (round === 0) {
        const moving = until(async () => (await data.sql`select 1 from images where tier = 'cold'`)[0])
        await Promise.race([moving, sweep.ended])
      }
      await sleep(Math.random() * 100)
      sweep.child.kill('SIGKILL')
      if ((await sweep.ended).signal === 'SIGKILL') killed++
      const [row] = await data.sql<
        { cold: number }[]
      >`select count(*) as cold from images where tier = 'cold'`
      moved = Math.max(moved, row!.cold)
      const wrong = []
      for (const { id, hash } of images) {
        const answer = await fetch(`${server.url}/images/${id}`)
        if (sha256(new Uint8Array(await answer.arrayBuffer())) !== hash) wrong.push(id)
      }
      t.strictSame(wrong, [], `round ${round}: ${row!.cold} of ${images.length} are archived`)
    }
    t.ok(killed > ROUNDS / 2, `${killed} were killed`)
    t.ok(moved > 0)

    await data.sql`update images set last_accessed_at = now() - interval '9 days'`
    await data.sql`delete from leases`
    await sleep(1_000)
    const last = await startSweep(t, { ...env, ARCHIVE_AFTER: 'P1D' }).ended
    t.equal(last.code, 0, last.output)
    t.match(summaryOf(last.output), { missing: 0, moveFailures: 0, failedSteps: 0 })
    const after = await startSweep(t, { ...env, ARCHIVE_AFTER: 'P1D' }, ['--dry-run']).ended
    t.match(summaryOf(after.output), {
      objects: IMAGES_OF_KILLS,
      orphans: 0,
      leftovers: 0,
      copies: 0,
      missing: 0,
    })
  })

const postgres = startPostgres(t)
inTier.engines(
  'an image that the admin removes is gone in other processes within 5 s, archived or not',
  { skip: postgres.missing },
  async (t) => {
    const folder = newFolder(t)
    const env = {
      DATABASE_URL: await postgres.createDatabase(),
      OBJECT_STORE_URL: pathToFileURL(join(folder, 'objects')).href,
      COLD_STORE_URL: pathToFileURL(join(folder, 'cold')).href,
      ARCHIVE_AFTER: 'P30D',
      WORKER_PROCESSES: '0',
    }
    const [here, there] = await Promise.all(
      ['here', 'there'].map((name) => startServer(t, { ...env, DATA_DIR: join(folder, name) })),
    )
    const link = await here!.makeLink()
    const bodies = [await makeImage(), await makeImage()]
    const images = [await post(link, bodies[0]!), await post(link, bodies[1]!)]
    // Only images that are analysed are archived.
    await until(
      async () => (await listImages(here!.url)).every(({ status }) => status === 'ready') || undefined,
    )
    const data = await openDataStore({ dataDir: folder, databaseUrl: env.DATABASE_URL }, { attach: false })
    t.teardown(() => data.close())
    await data.sql`update images set last_accessed_at = now() - interval '40 days' where id = ${images[1]!.id}`
    t.match(summaryOf((await startSweep(t, env).ended).output), { archived: 1 })

    for (const [n, { id }] of images.entries()) {
      const other = () => fetch(`${there!.url}/images/${id}`)
      t.equal((await other()).status, 200)
      // The other process knows the hash and the row now, and is asked all the time.
      await post(link.replace(here!.url, there!.url), bodies[n]!)
      const answer = await fetch(`${here!.url}/admin/images/${id}`, { method: 'DELETE', headers: admin })
      t.equal(answer.status, 204)
      const removedAt = Date.now()
      t.equal(
        (await fetch(`${here!.url}/images/${id}`)).status,
        410,
        'at once in the process that removed it',
      )
      const ended = await until(async () => {
        const head = await fetch(`${there!.url}/images/${id}`, { method: 'HEAD' })
        return head.status === 410 ? Date.now() : undefined
      })
      t.ok(ended - removedAt < 5_000, `${ended - removedAt} ms`)
      t.equal((await other()).status, 410)
      const again = await post(link.replace(here!.url, there!.url), bodies[n]!)
      t.not(again.id, id, 'the same content is a new image')
      t.equal((await fetch(`${here!.url}/images/${again.id}`)).status, 200)
    }
  },
)
