import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { StoreUnavailable } from '../unavailable.ts'

const TRIES = 20
const FIRST_PAUSE_MS = 4
const LONGEST_PAUSE_MS = 500
/** How long a database that is away is waited for: a restart takes about a second. */
const PATIENCE_MS = 2_000

/**
 * Nothing has happened where there was no connection yet: none was to be had, or the server took none (57P03
 * cannot_connect_now, 53300 too_many_connections). A statement is sent only after that.
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

/** A connection that was lost, as the system and postgres.js name it. */
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
 * The server can't at the moment: connection exceptions (08), insufficient resources (53), operator intervention (57,
 * a statement that took too long among it), a lock that was not to be had (55P03), a server that was made a standby
 * (25006) (https://www.postgresql.org/docs/current/errcodes-appendix.html); and CockroachDB's 40003, the result is not
 * known, and 58C, a range or a node is unavailable
 * (https://github.com/cockroachdb/cockroach/blob/master/pkg/sql/pgwire/pgcode/codes.go).
 */
const AWAY = /^(08...|53...|57...|55P03|25006|40003|58C..)$/

/**
 * Runs `work`, a transaction or a single statement, and again where nothing of it has happened: where the database asks
 * for it by SQLSTATE 40001 (serialization failure) or 40P01 (deadlock), and, for two seconds, where there was no
 * connection. PostgreSQL in SERIALIZABLE isolation asks for it of reads, too
 * (https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html), CockroachDB of all
 * (https://www.cockroachlabs.com/docs/stable/transaction-retry-error-reference). Between the tries it waits a random time
 * that grows. Any other error is thrown on, and so is that of the last of 20 tries.
 *
 * @param repeatable whether it does no harm twice: then it also runs again where nobody knows whether it has happened
 * @throws {StoreUnavailable} the database is away
 */
export async function retry<T>(work: () => PromiseLike<T>, { repeatable = false } = {}): Promise<T> {
  const patientUntil = performance.now() + PATIENCE_MS
  for (let tried = 1; ; tried++) {
    try {
      return await work()
    } catch (error) {
      const away = isAway(error)
      const again = away
        ? (repeatable || NOT_CONNECTED.has(codeOf(error))) && performance.now() < patientUntil
        : asksForRetry(error) && tried < TRIES
      if (!again) throw away ? new StoreUnavailable('database', { cause: error }) : error
      await sleep(Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** tried, LONGEST_PAUSE_MS))
    }
  }
}

const codeOf = (error: unknown) => String((error as { code?: unknown } | undefined)?.code)

function isAway(error: unknown) {
  const code = codeOf(error)
  return NOT_CONNECTED.has(code) || LOST.has(code) || AWAY.test(code)
}

/** Whether the database refused what a statement says: it would do so again, and nothing of it has happened. */
export const isStatementError = (error: unknown) =>
  error instanceof postgres.PostgresError && !isAway(error) && !asksForRetry(error)

function asksForRetry(error: unknown) {
  return ['40001', '40P01'].includes(codeOf(error))
}
