import { randomInt } from 'node:crypto'
import type { Sql } from './sql.ts'

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
  const shard = randomInt(SHARDS)
  // Always in the same order, so that two transactions can't wait for each other.
  const rows = lines
    .toSorted((a, b) => (a.kind + a.key < b.kind + b.key ? -1 : 1))
    .map((line) => ({ ...line, shard }))
  await sql`
    insert into upload_counts ${sql(rows, 'kind', 'key', 'shard', 'uploads', 'bytes')}
    on conflict (kind, key, shard) do update set
      uploads = upload_counts.uploads + excluded.uploads,
      bytes = upload_counts.bytes + excluded.bytes`
}
