import type { Removed } from './data-store.ts'
import type { Sql } from './sql.ts'

/**
 * Marks images as removed or rejected, within a transaction, and erases all data that describe a person or identify the content:
 * location, camera, times, placeholder, hash and file names. Removed images are not duplicates of anything, so their
 * hashes are not needed. The caller updates the counts.
 */
export async function markRemoved(
  sql: Sql,
  ids: string[],
  status: 'removed' | 'rejected' = 'removed',
): Promise<Removed[]> {
  const removed = await sql<Removed[]>`
    update images set
      status = ${status}, removed_at = now(), lease = null, due_at = null, hash = '', object_fault = null,
      camera_make = null, camera_model = null, lens = null, taken_at = null, taken_offset = null,
      latitude = null, longitude = null, altitude = null, placeholder = null
    where id = any(${ids}) and removed_at is null
    returning id, region`
  await sql`update uploads set name = '' where image_id = any(${removed.map(({ id }) => id)}) and name <> ''`
  return removed
}
