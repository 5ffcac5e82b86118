import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import postgres from 'postgres'
import t from 'tap'
import { build, makeLink, TOKEN } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { runHasty } from '../helpers/hasty.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { findPostgres, runPostgres, startPostgres } from '../helpers/postgres.ts'
import { until } from '../helpers/server.ts'

const { missing: skip } = startPostgres(t)

/** Runs a command of this machine, and parses its output. */
async function hasty(env: Record<string, string>, ...args: string[]) {
  const { code, out } = await runHasty({ ACCESS_TOKEN: TOKEN, ...env }, ...args)
  return { code, json: JSON.parse(out || 'null') }
}

t.test("PostgreSQL's own tools recover to a moment, and newer images are adopted", { skip }, async (t) => {
  const bin = findPostgres()!
  const [archive, base] = [newFolder(t), newFolder(t)]
  // PostgreSQL has another user than this process.
  execFileSync('chmod', ['777', archive])
  const server = await runPostgres(bin, {
    fsync: 'off',
    archive_mode: 'on',
    archive_command: `test ! -f ${archive}/%f && cp %p ${archive}/%f`,
    wal_level: 'replica',
  })
  t.teardown(server.remove)
  const OBJECT_STORE_URL = pathToFileURL(`${newFolder(t)}/objects`).href
  const app = await build(t, { DATABASE_URL: `${server.url}/postgres`, OBJECT_STORE_URL })
  const link = await makeLink(app)
  const send = async () => {
    const answer = await app.inject({
      method: 'POST',
      url: link,
      ...multipart([{ body: await makeImage() }]),
    })
    return answer.json().processed[0].id as string
  }

  const first = await send()
  execFileSync(join(bin, 'pg_basebackup'), ['-D', base, '-d', server.url, '-X', 'none', '-c', 'fast'], {
    stdio: 'ignore',
  })
  const second = await send()
  const sql = postgres(`${server.url}/postgres`, { max: 1 })
  const [{ moment } = {}] = await sql<{ moment: string }[]>`select clock_timestamp()::text as moment`
  await sleep(10)
  const third = await send()
  const [{ wal } = {}] = await sql<{ wal: string }[]>`select pg_walfile_name(pg_switch_wal()) as wal`
  await until(async () => readdirSync(archive).includes(wal!) || undefined)
  await sql.end()
  await app.close()
  await server.stop()

  // The steps of docs/operations.md.
  writeFileSync(join(base, 'recovery.signal'), '')
  mkdirSync(join(base, 'pg_wal', 'archive_status'), { recursive: true })
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', 'postgres', base])
  const restored = await runPostgres(
    bin,
    {
      fsync: 'off',
      restore_command: `cp ${archive}/%f %p`,
      recovery_target_time: moment!,
      recovery_target_action: 'promote',
    },
    base,
  )
  t.teardown(restored.remove)
  const env = {
    DATABASE_URL: `${restored.url}/postgres`,
    OBJECT_STORE_URL,
    DATA_DIR: newFolder(t),
    HOME: newFolder(t),
    SWEEP_GRACE: 'PT1S',
  }
  const recovery = postgres(env.DATABASE_URL, { max: 1 })
  await until(async () => ((await recovery`select pg_is_in_recovery() as is`)[0]!.is ? undefined : true))
  t.same(
    (await recovery`select id from images order by received_at`).map(({ id }) => id),
    [first, second],
    'the database has the state of that moment',
  )
  await sleep(1_000)
  t.match(await hasty(env, 'sweep', '--dry-run'), { code: 0, json: { missing: 0, orphans: 1, objects: 3 } })
  t.match(await hasty(env, 'sweep', '--adopt'), { code: 0, json: { missing: 0, adopted: 1 } })
  t.match(await recovery`select status from images where id = ${third}`, [{ status: 'pending' }])
  await recovery.end()
})
