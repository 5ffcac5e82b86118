import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Postgrator from 'postgrator'
import postgres from 'postgres'
import { createLeases, withLease } from './process-leases.ts'
import { retry } from './retry.ts'
import type { Sql } from './sql.ts'

const POLL_MS = 100

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
  for (;;) {
    const done = await withLease(sql, 'migrate', () => postgrator.migrate())
    if (done) return done.result.map(({ version, name }) => `${version} ${name}`)
    await sleep(POLL_MS)
  }
}

// The connection turns column names into camel case; postgrator looks for them as they are.
const asNamedInTheDatabase = (row: postgres.Row) =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [postgres.fromCamel(name), value]))
