import { setTimeout as sleep } from 'node:timers/promises'
import type { Database, Sql } from './sql.ts'

const TRIES = 20
const FIRST_PAUSE_MS = 4
const LONGEST_PAUSE_MS = 500

/**
 * Runs `work` in a transaction and returns what it returns. Every transaction of Hasty goes through here.
 *
 * `work` may run several times: PostgreSQL asks for that with SQLSTATE 40001 (serialization failure) and 40P01
 * (deadlock), CockroachDB with 40001 (https://www.cockroachlabs.com/docs/stable/transaction-retry-error-reference).
 * Between the tries it waits a random time that grows. Any other error rolls back and is thrown on.
 */
export async function transaction<T>(sql: Database, work: (sql: Sql) => Promise<T>): Promise<T> {
  return retried(() => sql.begin(work) as Promise<T>)
}

/** Runs a statement that is a transaction by itself, as `transaction` does. */
export async function retried<T>(work: () => PromiseLike<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await work()
    } catch (error) {
      if (tried === TRIES || !asksForRetry(error)) throw error
      await sleep(Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** tried, LONGEST_PAUSE_MS))
    }
  }
}

function asksForRetry(error: unknown) {
  const { code } = error as { code?: string }
  return code === '40001' || code === '40P01'
}
