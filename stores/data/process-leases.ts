import { randomUUID } from 'node:crypto'
import { retry } from './retry.ts'
import type { Sql } from './sql.ts'

const LEASE_MS = 120_000
const EXTEND_MS = LEASE_MS / 8
// What its holder does to the world outside of the database has so long to be done when the lease is no longer sure.
const MARGIN_MS = LEASE_MS / 2

// unique_violation (in the catalog), duplicate_object (the row type of the table), duplicate_table
const CREATED_BY_ANOTHER = new Set(['23505', '42710', '42P07'])

/** A lease that its holder can no longer be sure of: it could not be extended, or the process stood still. */
export class LeaseLost extends Error {
  override name = 'LeaseLost'
}

/** A lease that is held while the work that it is for goes on. */
export interface HeldLease {
  /** Aborted when the lease is lost. */
  signal: AbortSignal
  /** @throws {LeaseLost} call it before what must not be done by two */
  check(): void
}

/**
 * Does `work` while no other process of the installation does work of the same name; undefined where one does. The
 * lease is extended while the work goes on. A process that dies keeps the others out until its lease runs out, two
 * minutes after the last extension.
 *
 * A lease and not a lock: CockroachDB has no advisory locks, and a transaction that holds a row would be held open as
 * long as the work takes.
 */
export async function withLease<T>(
  sql: Sql,
  name: string,
  work: (held: HeldLease) => Promise<T>,
): Promise<{ result: T } | undefined> {
  const holder = randomUUID()
  // Counted from before the database counts.
  let until = performance.now() + LEASE_MS
  if (!(await takeLease(sql, name, holder))) return undefined

  const lost = new AbortController()
  const check = () => {
    if (performance.now() > until - MARGIN_MS) lost.abort(new LeaseLost(`the lease of ${name} is lost`))
    lost.signal.throwIfAborted()
  }
  async function extend() {
    const from = performance.now()
    const held = await takeLease(sql, name, holder).catch(() => undefined)
    if (held) until = from + LEASE_MS
    if (held === false) until = 0
    if (performance.now() > until - MARGIN_MS) lost.abort(new LeaseLost(`the lease of ${name} is lost`))
  }
  const extending = setInterval(extend, EXTEND_MS)
  try {
    return { result: await work({ signal: lost.signal, check }) }
  } finally {
    clearInterval(extending)
    // Where that fails it runs out.
    await retry(() => sql`delete from leases where name = ${name} and holder = ${holder}`).catch(() => {})
  }
}

/** Takes the lease where nobody has it, and extends it where the holder has it already. */
async function takeLease(sql: Sql, name: string, holder: string) {
  const taken = await retry(
    () => sql`
      insert into leases (name, holder, expires_at)
      values (${name}, ${holder}, now() + ${LEASE_MS}::float8 * interval '1 millisecond')
      on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
        where leases.expires_at < now() or leases.holder = excluded.holder
      returning name`,
  )
  return taken.length > 0
}

/** Makes the table of leases. Not by a migration: the migrations themselves are done under a lease. */
export async function createLeases(sql: Sql) {
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
