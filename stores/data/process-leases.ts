import { randomUUID } from 'node:crypto'
import { retry } from './retry.ts'
import type { Sql } from './sql.ts'

const LEASE_MS = 120_000
const EXTEND_MS = LEASE_MS / 8
// The time in which the holder's work outside the database must end before another process may get the lease.
const MARGIN_MS = LEASE_MS / 2

// unique_violation (in the catalog), duplicate_object (the row type of the table), duplicate_table
const CREATED_BY_ANOTHER = new Set(['23505', '42710', '42P07'])

/** A lease may have expired: it could not be extended in time, for example because the process was suspended. */
export class LeaseLost extends Error {
  override name = 'LeaseLost'
}

/** A lease that is held during the work. */
export interface HeldLease {
  /** Aborted when the lease is lost. */
  signal: AbortSignal
  /** Call it before each step that only one process may do. @throws {LeaseLost} */
  check(): void
}

/**
 * Does `work` if no other process of the installation does work with this name. Otherwise resolves with undefined. The
 * lease is extended during the work. If the process dies, the lease expires two minutes after its last extension.
 *
 * It is a lease and not a lock, because CockroachDB has no advisory locks, and a row lock would need a transaction that is
 * as long as the work.
 */
export async function withLease<T>(
  sql: Sql,
  name: string,
  work: (held: HeldLease) => Promise<T>,
): Promise<{ result: T } | undefined> {
  const holder = randomUUID()
  // Measured before the database sets the expiry, so this process never believes in the lease for too long.
  let until = performance.now() + LEASE_MS
  if (!(await takeLease(sql, name, holder))) return undefined

  const lost = new AbortController()
  const check = () => {
    if (performance.now() > until - MARGIN_MS) lost.abort(new LeaseLost(`The lease "${name}" was lost.`))
    lost.signal.throwIfAborted()
  }
  async function extend() {
    const from = performance.now()
    const held = await takeLease(sql, name, holder).catch(() => undefined)
    if (held) until = from + LEASE_MS
    if (held === false) until = 0
    if (performance.now() > until - MARGIN_MS) lost.abort(new LeaseLost(`The lease "${name}" was lost.`))
  }
  const extending = setInterval(extend, EXTEND_MS)
  try {
    return { result: await work({ signal: lost.signal, check }) }
  } finally {
    clearInterval(extending)
    // If this fails, the lease expires.
    await retry(() => sql`delete from leases where name = ${name} and holder = ${holder}`).catch(() => {})
  }
}

/** Takes the lease if it is free, and extends it if `holder` has it. Resolves with false if another process has it. */
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

/** Creates the table of leases. It is not a migration, because migrations need a lease. */
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
