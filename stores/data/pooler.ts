import type { Database } from './sql.ts'

const TIMEOUT_MS = 5_000

/**
 * Whether the connections go through a pooler that gives each transaction another server and loses prepared statements, as
 * PgBouncer before 1.21 does in transaction mode.
 *
 * @param open opens further connections
 */
export async function losesPreparedStatements(
  sql: Database,
  open: (options: { max: number }) => Database,
): Promise<boolean> {
  const rows = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`.simple()
  // A pooler has its own identity in the protocol (BackendKeyData).
  const { pid } = (rows as unknown as { state: { pid: number } }).state
  if (pid === rows[0]!.pid) return false

  const others = open({ max: 3 })
  try {
    return await Promise.race([probe(others), afterTimeout()])
  } finally {
    await others.end({ timeout: 0 })
  }
}

/** If the pooler has only one server, the second transaction never begins. Then the result is unknown, and no statement is prepared. */
const afterTimeout = () => new Promise<true>((resolve) => setTimeout(() => resolve(true), TIMEOUT_MS).unref())

/** Prepares a statement on one server, and runs it again when only another server is free. */
async function probe(sql: Database): Promise<boolean> {
  const [first, second, third] = await Promise.all([sql.reserve(), sql.reserve(), sql.reserve()])
  const runPrepared = async () => (await first`select ${1}::integer`).statement.name
  await first.unsafe('begin')
  await second.unsafe('begin')
  const name = await runPrepared()
  await first.unsafe('commit')
  await third.unsafe('begin') // takes the server of the first transaction
  await second.unsafe('commit')
  // If the server does not have the statement, the driver prepares it again under another name. It tries that only once,
  // so with more connections calls fail.
  return (await runPrepared()) !== name
}
