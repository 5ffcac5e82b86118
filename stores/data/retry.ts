import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { StoreUnavailable } from '../unavailable.ts'

const TRIES = 20
const FIRST_PAUSE_MS = 4
const LONGEST_PAUSE_MS = 500
/** The time to wait for an unavailable database. A restart takes about a second. */
const UNAVAILABLE_MS = 2_000

/**
 * No connection could be made, so no statement was sent. 57P03 is cannot_connect_now, 53300 is
 * too_many_connections.
 */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'CONNECT_TIMEOUT',
  'EMFILE',
  'ENFILE',
  '57P03',
  '53300',
])

/** The connection was lost: error codes of the system and of postgres.js. */
const LOST = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
])

/**
 * The server is unavailable: connection exceptions (08), insufficient resources (53), operator intervention (57, which
 * includes a statement timeout), lock_not_available (55P03), a server that became a standby (25006)
 * (https://www.postgresql.org/docs/current/errcodes-appendix.html); on CockroachDB also an unknown result (40003), and
 * an unavailable range or node (58C)
 * (https://github.com/cockroachdb/cockroach/blob/master/pkg/sql/pgwire/pgcode/codes.go).
 */
const UNAVAILABLE = /^(08...|53...|57...|55P03|25006|40003|58C..)$/

/**
 * Runs `work`, a transaction or a single statement. It runs again if it certainly had no effect: after SQLSTATE 40001
 * (serialization failure) or 40P01 (deadlock), up to 20 times, and without a connection, for two seconds. Reads can fail
 * with 40001 too, with SERIALIZABLE on PostgreSQL
 * (https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html) and always on CockroachDB
 * (https://www.cockroachlabs.com/docs/stable/transaction-retry-error-reference). The pauses are random and grow.
 *
 * @param repeatable whether `work` may happen twice; then it also runs again if its result is unknown
 * @throws {StoreUnavailable} if the database is unavailable
 */
export async function retry<T>(work: () => PromiseLike<T>, { repeatable = false } = {}): Promise<T> {
  const deadline = performance.now() + UNAVAILABLE_MS
  for (let tried = 1; ; tried++) {
    try {
      return await work()
    } catch (error) {
      const unavailable = isUnavailable(error)
      const again = unavailable
        ? (repeatable || NOT_CONNECTED.has(codeOf(error))) && performance.now() < deadline
        : isConflict(error) && tried < TRIES
      if (!again) throw unavailable ? toUnavailable(error) : error
      await sleep(Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** tried, LONGEST_PAUSE_MS))
    }
  }
}

const codeOf = (error: unknown) => String((error as { code?: unknown } | undefined)?.code)

function isUnavailable(error: unknown) {
  const code = codeOf(error)
  return NOT_CONNECTED.has(code) || LOST.has(code) || UNAVAILABLE.test(code)
}

/** The faults of a database that the admin can correct. */
const FAULTS: Record<string, string> = {
  '25006': 'is read-only',
  '53100': 'has no space left on its disk',
  '53300': 'has too many connections',
  '57P03': 'is starting or shutting down',
}

/** The error for a caller of the database, with the reason if the database has given one. */
export function toUnavailable(error: unknown): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error
  const code = codeOf(error)
  const fault = FAULTS[code] ?? (isUnavailable(error) ? undefined : `reports an error (${code})`)
  return new StoreUnavailable('database', { cause: error }, fault)
}

/** Whether the database refused the statement itself. It had no effect, and a repetition would fail too. */
export const isStatementError = (error: unknown) =>
  error instanceof postgres.PostgresError && !isUnavailable(error) && !isConflict(error)

function isConflict(error: unknown) {
  return ['40001', '40P01'].includes(codeOf(error))
}
