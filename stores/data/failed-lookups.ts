import type { FailedLookupStore } from './interfaces/failed-lookups.ts'
import type { Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

export function createFailedLookups(sql: Sql): StoreCalls<FailedLookupStore> {
  return {
    add: once(async (windowStart, counts) => {
      // All processes use one order, so that two of them can not wait for each other.
      const rows = [...counts]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([address, count]) => ({ address, windowStart, count }))
      const totals = await sql<{ address: string; count: number }[]>`
        insert into failed_lookups ${sql(rows)}
        on conflict (address, window_start) do update set count = failed_lookups.count + excluded.count
        returning address, count`
      return new Map(totals.map(({ address, count }) => [address, count]))
    }),

    forget: repeatable(async (windowStart) => {
      await sql`delete from failed_lookups where window_start < ${windowStart}`
    }),
  }
}
