import type { StatsStore, StoredCount, UploadCount } from './interfaces/stats.ts'
import type { Sql } from './sql.ts'
import { repeatable, type StoreCalls } from './store-call.ts'

export function createStats(sql: Sql): StoreCalls<StatsStore> {
  return {
    top: repeatable(
      (kind, limit) => sql<UploadCount[]>`
        select key, sum(uploads)::bigint as uploads, sum(bytes)::bigint as bytes from upload_counts
        where kind = ${kind} group by key having sum(uploads) > 0
        order by uploads desc, key limit ${limit}`,
    ),

    days: repeatable(
      (last, days) => sql<UploadCount[]>`
        select key, sum(uploads)::bigint as uploads, sum(bytes)::bigint as bytes from upload_counts
        where kind = 'day' and key > (${last}::date - ${days}::int)::text and key <= ${last}
        group by key having sum(uploads) > 0 order by key desc`,
    ),

    stored: repeatable(
      () => sql<StoredCount[]>`
        select
          split_part(key, ' ', 1) as tier, split_part(key, ' ', 2) as region,
          sum(uploads)::bigint as images, sum(bytes)::bigint as bytes
        from upload_counts where kind = 'location' group by key`,
    ),
  }
}
