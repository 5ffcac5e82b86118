import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { Database } from './sql.ts'

/** What the last sweep did; each that ends takes the place of the one before. */
export function createSweeps(sql: Database) {
  return {
    async save(summary: SweepSummary): Promise<void> {
      await sql`
          insert into sweeps (name, finished_at, summary) values ('last', now(), ${sql.json(summary)})
          on conflict (name) do update set finished_at = excluded.finished_at, summary = excluded.summary`
    },

    /** `age`: how many milliseconds ago it ended. Undefined before the first. */
    async last(): Promise<{ finishedAt: Date; age: number; summary: SweepSummary } | undefined> {
      const [row] = await sql<{ finishedAt: Date; age: number; summary: SweepSummary }[]>`
        select finished_at, (extract(epoch from now() - finished_at) * 1000)::double precision as age, summary
        from sweeps where name = 'last'`
      return row
    },
  }
}
