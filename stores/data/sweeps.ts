import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { SweepStore } from './data-store.ts'
import type { Database } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

export function createSweeps(sql: Database): StoreCalls<SweepStore> {
  return {
    save: once(async (summary) => {
      await sql`
        insert into sweeps (name, finished_at, summary) values ('last', now(), ${sql.json(summary)})
        on conflict (name) do update set finished_at = excluded.finished_at, summary = excluded.summary`
    }),

    last: repeatable(async () => {
      const [row] = await sql<{ finishedAt: Date; age: number; summary: SweepSummary }[]>`
        select finished_at, (extract(epoch from now() - finished_at) * 1000)::double precision as age, summary
        from sweeps where name = 'last'`
      return row
    }),
  }
}
