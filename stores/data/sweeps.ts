import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { SweepStore } from './interfaces/sweeps.ts'
import type { Database } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

export function createSweeps(sql: Database): StoreCalls<SweepStore> {
  return {
    save: once(async (summary) => {
      const names = ['last']
      if (summary.failedSteps === 0) names.push('sweep')
      if (summary.failedSteps === 0 && summary.moveFailures === 0) names.push('archive')
      await sql`
        insert into sweeps (name, finished_at, summary)
        select name, now(), ${sql.json(summary)} from unnest(${names}::text[]) as name
        on conflict (name) do update set finished_at = excluded.finished_at, summary = excluded.summary`
    }),

    successes: repeatable(
      () =>
        sql<{ name: string; finishedAt: Date }[]>`select name, finished_at from sweeps where name <> 'last'`,
    ),

    last: repeatable(async () => {
      const [row] = await sql<{ finishedAt: Date; age: number; summary: SweepSummary }[]>`
        select finished_at, (extract(epoch from now() - finished_at) * 1000)::double precision as age, summary
        from sweeps where name = 'last'`
      return row
    }),
  }
}
