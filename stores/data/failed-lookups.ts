import type { Sql } from './sql.ts'

/** Counts of guesses by address, for one window of time. */
export type FailedLookupCounts = ReadonlyMap<string, number>

export function createFailedLookups(sql: Sql) {
  return {
    /** Adds to the counts of a window, and returns what they are with those of all processes. */
    async add(windowStart: Date, counts: FailedLookupCounts): Promise<Map<string, number>> {
      // In one order, so that two processes don't wait for each other.
      const rows = [...counts]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([address, count]) => ({ address, windowStart, count }))
      const totals = await sql<{ address: string; count: number }[]>`
        insert into guesses ${sql(rows)}
        on conflict (address, window_start) do update set count = guesses.count + excluded.count
        returning address, count`
      return new Map(totals.map(({ address, count }) => [address, count]))
    },

    /** Forgets the windows before this one. */
    async forget(windowStart: Date): Promise<void> {
      await sql`delete from guesses where window_start < ${windowStart}`
    },
  }
}
