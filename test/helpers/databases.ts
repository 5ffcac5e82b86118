import type { Test } from 'tap'
import t from 'tap'
import { startPostgres } from './postgres.ts'

/** Runs a test on each kind of database: `env` is what chooses it. What is not installed is skipped by name. */
export function eachDatabase(body: (t: Test, env: Record<string, string>) => Promise<void>) {
  t.test('on the embedded database', (t) => body(t, {}))

  const postgres = startPostgres(t)
  for (const isolation of ['read committed', 'serializable'] as const) {
    t.test(`on PostgreSQL, ${isolation}`, { skip: postgres.missing }, async (t) => {
      await body(t, { DATABASE_URL: await postgres.createDatabase(isolation) })
    })
  }
}
