import { rmSync } from 'node:fs'
import t from 'tap'
import { checkDecoders, judgeDisk, judgeSchema, STORE_CHECKS } from '../bin/commands/doctor.ts'
import { admin, build, makeLink, TOKEN } from './helpers/app.ts'
import { newFolder } from './helpers/folder.ts'
import { runHasty } from './helpers/hasty.ts'
import { makeImage } from './helpers/images.ts'
import { multipart } from './helpers/multipart.ts'

t.test('doctor recognises a good installation, and says how to fix a problem of each kind', async (t) => {
  const DATA_DIR = newFolder(t)
  const app = await build(t, { DATA_DIR })
  const run = (args: string[], env: Record<string, string> = {}) =>
    runHasty({ DATA_DIR, HOME: DATA_DIR, ACCESS_TOKEN: TOKEN, ...env }, ...args)
  const doctor = async (env?: Record<string, string>) => {
    const { code, out } = await run(['doctor'], env)
    const checks = JSON.parse(out) as { name: string; state: string; detail: string; fix?: string }[]
    for (const { name, state, fix } of checks)
      if (state !== 'ok') t.match(fix, /\w/, `${name} says how to fix it`)
    const states = Object.fromEntries(checks.map(({ name, state }) => [name, state]))
    const details = Object.fromEntries(checks.map(({ name, detail }) => [name, detail]))
    return { code, states, details }
  }
  const { sql } = app.stores.data

  const fresh = await doctor()
  t.equal(fresh.code, 0, 'a warning is no fault')
  t.match(fresh.states, { Sweep: 'warning', Verification: 'warning', Backup: 'warning' })
  for (const args of [['sweep'], ['verify'], ['backup', '--to', newFolder(t)]])
    t.equal((await run(args)).code, 0, args.join(' '))
  t.match((await doctor()).states, {
    Configuration: 'ok',
    Disk: /ok|warning/,
    'Object stores': 'ok',
    Decoders: /ok|warning/,
    Schema: 'ok',
    Broker: 'ok',
    Clock: 'ok',
    Sweep: 'ok',
    Verification: 'ok',
    Backup: 'ok',
    Database: 'ok',
  })

  const wrong = await doctor({ OBJECT_STORE_URL: 'ftp://x' })
  t.match(wrong, {
    code: 1,
    states: { Configuration: 'fault' },
    details: { Configuration: /OBJECT_STORE_URL/ },
  })
  const broker = await doctor({ QUEUE_URL: 'nats://127.0.0.1:9' })
  t.match(broker, { code: 1, states: { Broker: 'fault' }, details: { Broker: /^127\.0\.0\.1:9 does not/ } })

  await sql`update job_state set updated_at = now() - interval '8 days' where name = 'backup'`
  await sql`update sweeps set finished_at = now() - interval '4 hours'`
  t.match((await doctor()).states, { Backup: 'warning', Sweep: 'warning' })

  await sql`insert into schemaversion (version, name) values (9999, 'newer')`
  t.match(await doctor(), {
    code: 1,
    states: { Database: 'fault' },
    details: { Database: /only versions up to/ },
  })
  await sql`delete from schemaversion where version = 9999`
  const newest = await sql<{ version: number }[]>`
    delete from schemaversion where version = (select max(version) from schemaversion) returning *`
  t.match((await doctor()).states, { Schema: 'warning', Database: 'ok' })
  const applied = await sql`select version from schemaversion where version = ${newest[0]!.version}`
  t.equal(applied.length, 0, 'it changes nothing')
  await sql`insert into schemaversion ${sql(newest)}`

  await app.inject({ method: 'POST', url: await makeLink(app), ...multipart([{ body: await makeImage() }]) })
  rmSync(`${DATA_DIR}/objects`, { recursive: true })
  t.match(
    await doctor(),
    { code: 1, states: { 'Object stores': 'warning', Database: 'fault' } },
    'not mounted',
  )
  t.match(await doctor({ DATA_DIR: newFolder(t) }), { code: 1, states: { Database: 'fault' } })
  const { items } = (await app.inject({ url: '/admin/audit', headers: admin })).json()
  const local = items.filter(({ actor }: { actor: string }) => actor.startsWith('local:'))
  t.equal(local.length, 3, 'sweep, verify and backup are recorded, and doctor is not')
})

t.test('doctor reports a full disk, a wrong clock, pending migrations and a broken decoder', async (t) => {
  const GiB = 2 ** 30
  t.match(judgeDisk('./data', { free: 50 * GiB, size: 100 * GiB }), { state: 'ok', fix: undefined })
  t.match(judgeDisk('./data', { free: 9 * GiB, size: 100 * GiB }), { state: 'warning', fix: /larger disk/ })
  t.match(judgeDisk('./data', { free: GiB / 2, size: 2 * GiB }), { state: 'warning' })
  t.match(judgeDisk('./data', { free: 0, size: GiB }), { state: 'fault', detail: /0 B of 1.0 GiB/ })

  const app = await build(t)
  const { data } = app.stores
  const check = (name: string, changes: object) =>
    STORE_CHECKS[name]!({ ...app.stores, data: { ...data, ...changes } }, app.config)
  for (const seconds of [-60, 60]) {
    const now = async () => new Date(Date.now() + seconds * 1000)
    t.match(
      await check('Clock', { lifecycle: { ...data.lifecycle, now } }),
      { state: 'fault', detail: /differ by 60 s/, fix: /NTP/ },
      `${seconds} s`,
    )
  }
  t.match(await check('Clock', {}), { state: 'ok' })
  t.match(judgeSchema([13, 14]), { state: 'warning', detail: /13, 14/, fix: /npm run migrate/ })

  const reader = (read: () => Promise<unknown>) => ({ of: () => ({ read }), close: async () => {} }) as never
  const missing = await checkDecoders(reader(() => Promise.reject(new Error("Cannot find package 'sharp'"))))
  t.match(missing, { state: 'fault', detail: /small PNG: Cannot find package 'sharp'/, fix: /npm ci/ })
  t.match(await checkDecoders(reader(async () => 'timeout')), { state: 'fault', fix: /npm ci/ })
})
