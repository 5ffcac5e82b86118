import { setTimeout as sleep } from 'node:timers/promises'

const TRIES = 20
const FIRST_PAUSE_MS = 4
const LONGEST_PAUSE_MS = 500

/**
 * Runs `work`, a transaction or a single statement, and again where the database asks for it: by SQLSTATE 40001
 * (serialization failure) or 40P01 (deadlock), after which nothing of it has happened. PostgreSQL in SERIALIZABLE
 * isolation asks for it of reads, too (https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html),
 * CockroachDB of all (https://www.cockroachlabs.com/docs/stable/transaction-retry-error-reference). Between the tries it
 * waits a random time that grows. Any other error is thrown on, and so is that of the last of 20 tries.
 */
export async function retry<T>(work: () => PromiseLike<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await work()
    } catch (error) {
      if (tried === TRIES || !asksForRetry(error)) throw error
      await sleep(Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** tried, LONGEST_PAUSE_MS))
    }
  }
}

type Functions = Record<string, (...parameters: never[]) => PromiseLike<unknown>>
type Retrying<Store extends Functions> = {
  [Name in keyof Store]: (...parameters: Parameters<Store[Name]>) => Promise<Awaited<ReturnType<Store[Name]>>>
}

/** The same functions, each of them one transaction or statement, with `retry` around each. */
export function retrying<Store extends Functions>(store: Store): Retrying<Store> {
  const entries = Object.entries(store).map(([name, run]) => [
    name,
    (...parameters: never[]) => retry(() => run(...parameters)),
  ])
  return Object.fromEntries(entries)
}

function asksForRetry(error: unknown) {
  const { code } = error as { code?: string }
  return code === '40001' || code === '40P01'
}
