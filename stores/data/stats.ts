import type { Sql } from './sql.ts'

/** What a roll-up counts. */
export interface UploadCount {
  key: string
  uploads: number
}

/** Reads the roll-ups, whose size does not grow with the number of uploads. */
export function createStats(sql: Sql) {
  return {
    /** The formats or the camera models (empty: unknown) of the most uploads, most first. */
    top: (kind: 'format' | 'model', limit: number) => sql<UploadCount[]>`
      select key, sum(uploads)::bigint as uploads from upload_counts
      where kind = ${kind} group by key having sum(uploads) > 0
      order by uploads desc, key limit ${limit}`,

    /** The days in UTC that have uploads, newest first: `days` of them up to `last`, such as 2026-11-01. */
    days: (last: string, days: number) => sql<UploadCount[]>`
      select key, sum(uploads)::bigint as uploads from upload_counts
      where kind = 'day' and key > (${last}::date - ${days}::int)::text and key <= ${last}
      group by key having sum(uploads) > 0 order by key desc`,
  }
}
