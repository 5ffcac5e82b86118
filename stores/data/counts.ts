import { randomInt } from 'node:crypto'
import type { StorageLocation } from '../storage-location.ts'
import type { Database, Sql } from './sql.ts'

// With this many shards, two concurrent uploads rarely wait for the same row, and a sum over them is still cheap.
const SHARDS = 32

export interface CountKey {
  kind: 'day' | 'format' | 'model' | 'link' | 'location'
  key: string
}

/** An amount to add to a count; it may be negative. */
export interface CountLine extends CountKey {
  uploads: number
  bytes: number
}

/** Adds to the counts, in the transaction that changes the counted rows. Each key must occur once. */
export async function count(sql: Sql, lines: CountLine[]): Promise<void> {
  if (lines.length > 0) await addToShard(sql, randomShard(), lines)
}

/** The count of the images in a storage location: its `uploads` are images that are not removed. */
export const locationKey = ({ region, tier }: StorageLocation): CountKey => ({
  kind: 'location',
  key: `${tier} ${region}`,
})

/** The shard to add to this time. */
export const randomShard = () => randomInt(SHARDS)

async function addToShard(sql: Sql, shard: number, lines: CountLine[]) {
  // All writers use one order, so that two transactions can not wait for each other.
  const rows = lines
    .toSorted((a, b) => (a.kind + a.key < b.kind + b.key ? -1 : 1))
    .map((line) => ({ ...line, shard }))
  await sql`
    insert into upload_counts ${sql(rows, 'kind', 'key', 'shard', 'uploads', 'bytes')}
    on conflict (kind, key, shard) do update set
      uploads = upload_counts.uploads + excluded.uploads,
      bytes = upload_counts.bytes + excluded.bytes`
}

/** Up to `limit` days before today, in UTC, whose counts have several shards or are zero. */
export async function daysToFold(sql: Sql, limit: number): Promise<string[]> {
  const rows = await sql<{ key: string }[]>`
    select key from upload_counts
    where kind = 'day' and key < (now() at time zone 'UTC')::date::text
    group by key having max(shard) > 0 or sum(uploads) = 0
    order by key limit ${limit}`
  return rows.map(({ key }) => key)
}

/**
 * Adds the counts of a day up in its first shard. Deletes the counts of a day without uploads.
 *
 * The counts stay correct while the day still changes, for example by an upload that began before midnight: a writer that
 * adds to a deleted shard waits and then inserts the shard again; a shard that a writer has changed is deleted with its
 * new value.
 */
export async function foldDay(sql: Database, key: string): Promise<void> {
  await sql.begin(async (sql) => {
    const shards = await sql<Pick<CountLine, 'uploads' | 'bytes'>[]>`
      delete from upload_counts where kind = 'day' and key = ${key} returning uploads, bytes`
    const uploads = shards.reduce((sum, shard) => sum + shard.uploads, 0)
    const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0)
    if (uploads !== 0 || bytes !== 0) await addToShard(sql, 0, [{ kind: 'day', key, uploads, bytes }])
  })
}
