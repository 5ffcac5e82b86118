import { randomInt } from 'node:crypto'
import type { Database, Sql } from './sql.ts'

// Two uploads of the same moment rarely meet in one of so many rows, and a sum over them is still cheap.
const SHARDS = 32

export interface CountKey {
  kind: 'day' | 'format' | 'model' | 'link'
  key: string
}

/** What to add to a count; negative numbers take away. */
export interface CountLine extends CountKey {
  uploads: number
  bytes: number
}

/** Adds to the roll-ups, within the transaction of what is counted. Lines must name each key once. */
export async function count(sql: Sql, lines: CountLine[]): Promise<void> {
  if (lines.length === 0) return
  await addTo(sql, randomShard(), lines)
}

/** The shard that is added to this time. */
export const randomShard = () => randomInt(SHARDS)

/** The end of an insert into the roll-ups: what is there is added to. */
export const adding = (sql: Sql) => sql`
  on conflict (kind, key, shard) do update set
    uploads = upload_counts.uploads + excluded.uploads,
    bytes = upload_counts.bytes + excluded.bytes`

async function addTo(sql: Sql, shard: number, lines: CountLine[]) {
  // Always in the same order, so that two transactions can't wait for each other.
  const rows = lines
    .toSorted((a, b) => (a.kind + a.key < b.kind + b.key ? -1 : 1))
    .map((line) => ({ ...line, shard }))
  await sql`
    insert into upload_counts ${sql(rows, 'kind', 'key', 'shard', 'uploads', 'bytes')}
    ${adding(sql)}`
}

/** Up to `limit` days before today, in UTC, whose counts are spread over shards or zero. */
export async function daysToFold(sql: Sql, limit: number): Promise<string[]> {
  const rows = await sql<{ key: string }[]>`
    select key from upload_counts
    where kind = 'day' and key < (now() at time zone 'UTC')::date::text
    group by key having max(shard) > 0 or sum(uploads) = 0
    order by key limit ${limit}`
  return rows.map(({ key }) => key)
}

/**
 * Puts the counts of a day into its first shard; those of a day without uploads are dropped.
 *
 * It stays exact while the day still changes, as by an upload that began before midnight: who adds to a shard that is
 * being deleted waits, and then makes the shard anew; a shard that is being added to is deleted with what was added.
 */
export async function foldDay(sql: Database, key: string): Promise<void> {
  await sql.begin(async (sql) => {
    const shards = await sql<Pick<CountLine, 'uploads' | 'bytes'>[]>`
      delete from upload_counts where kind = 'day' and key = ${key} returning uploads, bytes`
    const uploads = shards.reduce((sum, shard) => sum + shard.uploads, 0)
    const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0)
    if (uploads !== 0 || bytes !== 0) await addTo(sql, 0, [{ kind: 'day', key, uploads, bytes }])
  })
}
