import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Postgrator from 'postgrator'
import postgres from 'postgres'
import { retry } from './retry.ts'
import type { Sql } from './sql.ts'

const LEASE_SECONDS = 120
const POLL_MS = 100
// unique_violation (in the catalog), duplicate_object (the row type of the table), duplicate_table
const CREATED_BY_ANOTHER = new Set(['23505', '42710', '42P07'])

/**
 * Brings the schema up to date and returns the names of the migrations that it applied.
 *
 * Several processes may call it at once: a lease in the database lets one work while the others wait. A lease and not
 * a lock, because a migration on CockroachDB ends the transaction that would hold the lock (`autocommit_before_ddl`).
 * A process that dies holds the others up until its lease runs out, so each migration can be run again.
 */
export async function migrate(sql: Sql): Promise<string[]> {
  const postgrator = new Postgrator({
    driver: 'pg',
    migrationPattern: fileURLToPath(new URL('../../migrations/*.sql', import.meta.url)),
    execQuery: async (query) => {
      const rows = await retry(() => sql.unsafe(query))
      return { rows: rows.map(asNamedInTheDatabase) }
    },
    newline: 'LF',
  })
  if ((await postgrator.getDatabaseVersion()) >= (await postgrator.getMaxVersion())) return []

  await createLeases(sql)
  const holder = randomUUID()
  while (!(await takeLease(sql, holder))) await sleep(POLL_MS)
  try {
    const applied = await postgrator.migrate()
    return applied.map(({ version, name }) => `${version} ${name}`)
  } finally {
    await retry(() => sql`delete from leases where name = 'migrate' and holder = ${holder}`)
  }
}

// The connection turns column names into camel case; postgrator looks for them as they are.
const asNamedInTheDatabase = (row: postgres.Row) =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [postgres.fromCamel(name), value]))

async function createLeases(sql: Sql) {
  try {
    await retry(
      () => sql`create table if not exists leases (
        name text primary key, holder text not null, expires_at timestamptz not null
      )`,
    )
  } catch (error) {
    // PostgreSQL's "if not exists" does not cover two processes that create the table at the same moment.
    if (!CREATED_BY_ANOTHER.has((error as { code?: string }).code!)) throw error
  }
}

async function takeLease(sql: Sql, holder: string) {
  const taken = await retry(
    () => sql`
      insert into leases (name, holder, expires_at)
      values ('migrate', ${holder}, now() + ${LEASE_SECONDS}::float8 * interval '1 second')
      on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
        where leases.expires_at < now()
      returning name`,
  )
  return taken.length > 0
}
