import type { Test } from 'tap'
import t from 'tap'
import { startPostgres } from './postgres.ts'
import { tier } from './tiers.ts'

/**
 * Runs a test on each kind of database. `npm test` runs it on the embedded one, the engines tier on PostgreSQL, the
 * campaign on both. Software that is missing is skipped by name.
 *
 * @param body its `env` selects the database
 * @param options `serializable`: also with that isolation, which stores and races need
 */
export function eachDatabase(
  body: (t: Test, env: Record<string, string>) => Promise<void>,
  { serializable = false } = {},
) {
  if (tier !== 'engines') t.test('on the embedded database', (t) => body(t, {}))
  if (tier === 'default') return

  const postgres = startPostgres(t)
  for (const isolation of ['read committed', ...(serializable ? ['serializable' as const] : [])] as const) {
    t.test(`on PostgreSQL, ${isolation}`, { skip: postgres.missing }, async (t) => {
      await body(t, { DATABASE_URL: await postgres.createDatabase(isolation) })
    })
  }
}
