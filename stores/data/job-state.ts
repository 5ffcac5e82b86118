import type { JobStateStore } from './interfaces/job-state.ts'
import type { Database } from './sql.ts'
import { repeatable, type StoreCalls } from './store-call.ts'

export function createJobState(sql: Database): StoreCalls<JobStateStore> {
  return {
    save: repeatable(async (name, value) => {
      await sql`
        insert into job_state (name, value) values (${name}, ${sql.json(value as never)})
        on conflict (name) do update set value = excluded.value, updated_at = now()`
    }),

    read: repeatable(async (name) => {
      const [row] = await sql<{ value: object; at: Date; age: number }[]>`
        select value, updated_at as at, (extract(epoch from now() - updated_at) * 1000)::double precision as age
        from job_state where name = ${name}`
      return row
    }),
  }
}
