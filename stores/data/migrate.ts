import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Postgrator from 'postgrator'
import postgres from 'postgres'
import { createLeases, withLease } from './process-leases.ts'
import { retry } from './retry.ts'
import type { Sql } from './sql.ts'

const POLL_MS = 100

/** The database was used by a newer version of Hasty, whose rows this version does not understand. */
export class NewerSchema extends Error {
  override name = 'NewerSchema'

  constructor(current: number, latest: number) {
    super(
      `The database has schema version ${current}, but this version of Hasty knows only versions up to ${latest}. ` +
        'Start the version of Hasty that has migrated the database, or restore an earlier backup.',
    )
  }
}

/**
 * Updates the schema. Resolves with the names of the applied migrations.
 *
 * Several processes may call it at the same time. A lease lets one work while the others wait. A lock is not sufficient,
 * because a migration on CockroachDB ends the transaction that holds it (`autocommit_before_ddl`). If a process dies, the
 * others wait until its lease expires and run the migration again, so each migration must be repeatable.
 */
export async function migrate(sql: Sql): Promise<string[]> {
  const postgrator = createPostgrator(sql)
  const { current, latest } = await versionsOf(postgrator)
  if (current === latest) return []

  await createLeases(sql)
  for (;;) {
    const done = await withLease(sql, 'migrate', () => postgrator.migrate())
    if (done) return done.result.map(({ version, name }) => `${version} ${name}`)
    await sleep(POLL_MS)
  }
}

/** The versions of the schema that are not applied yet. Changes nothing. @throws {NewerSchema} */
export async function pendingMigrations(sql: Sql): Promise<number[]> {
  const { current, latest } = await versionsOf(createPostgrator(sql))
  return Array.from({ length: latest - current }, (_, n) => current + 1 + n)
}

async function versionsOf(postgrator: Postgrator) {
  const [current, latest] = [await postgrator.getDatabaseVersion(), await postgrator.getMaxVersion()]
  if (current > latest) throw new NewerSchema(current, latest)
  return { current, latest }
}

const createPostgrator = (sql: Sql) =>
  new Postgrator({
    driver: 'pg',
    migrationPattern: fileURLToPath(new URL('../../migrations/*.sql', import.meta.url)),
    execQuery: async (query) => {
      const rows = await retry(() => sql.unsafe(query))
      return { rows: rows.map(asNamedInTheDatabase) }
    },
    newline: 'LF',
  })

// The connection converts column names to camel case. postgrator needs the original names.
const asNamedInTheDatabase = (row: postgres.Row) =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [postgres.fromCamel(name), value]))
