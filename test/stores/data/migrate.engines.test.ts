import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { connect } from '../../../stores/data/connect.ts'
import { migrate } from '../../../stores/data/migrate.ts'
import { newFolder } from '../../helpers/folder.ts'
import { migrations } from '../../helpers/migrations.ts'
import { startPostgres } from '../../helpers/postgres.ts'
import { NODE_COMPILE_CACHE } from '../../helpers/server.ts'

const MIGRATE = fileURLToPath(new URL('../../../migrate.ts', import.meta.url))
const server = startPostgres(t)

/** Runs `npm run migrate` in a separate process. Resolves with its log. */
async function runMigrate(env: Record<string, string>) {
  const process_ = spawn(process.execPath, [MIGRATE], {
    env: { ...env, LOG_LEVEL: 'info', NODE_COMPILE_CACHE },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output, [code]] = await Promise.all([text(process_.stdout), once(process_, 'exit')])
  const lines = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  return { code, applied: lines.at(-1)?.applied, output }
}

for (const isolation of ['read committed', 'serializable'] as const) {
  t.test(
    `processes that start at the same time migrate once, ${isolation}`,
    { skip: server.missing },
    async (t) => {
      const databaseUrl = await server.createDatabase(isolation)
      const env = { DATABASE_URL: databaseUrl, DATA_DIR: newFolder(t) }
      const runs = await Promise.all(Array.from({ length: 4 }, () => runMigrate(env)))
      for (const { code, output } of runs) t.equal(code, 0, output)
      t.strictSame(
        runs.flatMap(({ applied }) => applied),
        migrations,
        'one of them has applied it',
      )

      t.match(await runMigrate(env), { code: 0, applied: [] }, 'then there is nothing to do')
      const { sql, close } = await connect({ databaseUrl, dataDir: '' }, { attach: false })
      t.teardown(close)
      const versions = await sql`select version from schemaversion order by version`
      t.strictSame(
        [...versions],
        [0, ...migrations.map((_, n) => n + 1)].map((version) => ({ version })),
      )
      t.equal((await sql`select * from leases`).count, 0, 'no lease is left')
    },
  )
}

t.test('repeated concurrent calls migrate once', { skip: server.missing }, async (t) => {
  for (let n = 0; n < 5; n++) {
    const databaseUrl = await server.createDatabase('serializable')
    const connections = await Promise.all(
      Array.from({ length: 6 }, () => connect({ databaseUrl, dataDir: '' }, { attach: false })),
    )
    t.teardown(() => Promise.all(connections.map(({ close }) => close())))
    const applied = await Promise.all(connections.map(({ sql }) => migrate(sql)))
    t.strictSame(applied.flat(), migrations)
  }
})

t.test('the lease of a dead process expires', { skip: server.missing }, async (t) => {
  const databaseUrl = await server.createDatabase()
  const { sql, close } = await connect({ databaseUrl, dataDir: '' }, { attach: false })
  t.teardown(close)
  await sql`create table leases (name text primary key, holder text not null, expires_at timestamptz not null)`
  const start = performance.now()
  await sql`insert into leases values ('migrate', 'a dead process', now() + interval '600 milliseconds')`
  t.strictSame(await migrate(sql), migrations)
  t.ok(performance.now() - start > 590, 'it is not taken over before it has run out')
  t.equal((await sql`select * from leases`).count, 0)
})

t.test('an interrupted migration is run again', { skip: server.missing }, async (t) => {
  const databaseUrl = await server.createDatabase()
  const { sql, close } = await connect({ databaseUrl, dataDir: '' }, { attach: false })
  t.teardown(close)
  await migrate(sql)
  await sql`insert into links (id, expires_at) values ('kept', now())`
  await sql`delete from schemaversion where version > 0`
  await sql`drop index links_page`
  t.strictSame(await migrate(sql), migrations)
  t.strictSame([...(await sql`select id from links`)], [{ id: 'kept' }])
  t.equal((await sql`select 1 from pg_indexes where indexname = 'links_page'`).count, 1)
})

t.test('a migration that fails leaves no lease', { skip: server.missing }, async (t) => {
  const databaseUrl = await server.createDatabase()
  const { sql, close } = await connect({ databaseUrl, dataDir: '' }, { attach: false })
  t.teardown(close)
  await sql`create table links (id integer)`
  await t.rejects(migrate(sql), { code: '42703' })
  t.equal((await sql`select * from leases`).count, 0)
})
