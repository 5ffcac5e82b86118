import type { StorageLocation } from '../storage-location.ts'
import { type CountLine, count, locationKey } from './counts.ts'
import type { Removed } from './interfaces/lifecycle.ts'
import type { Sql } from './sql.ts'

/**
 * Marks images as removed or rejected, within a transaction, and erases all data that describe a person or identify the content:
 * location, camera, times, placeholder, hash, file names, senders and their messages. Removed images are not duplicates of
 * anything, so their hashes are not needed. The caller updates the counts of the uploads.
 */
export async function markRemoved(
  sql: Sql,
  ids: string[],
  status: 'removed' | 'rejected' = 'removed',
): Promise<Removed[]> {
  const removed = await sql<(Removed & StorageLocation & { size: number })[]>`
    update images set
      status = ${status}, removed_at = now(), lease = null, due_at = null, hash = '', object_fault = null,
      camera_make = null, camera_model = null, lens = null, taken_at = null, taken_offset = null,
      latitude = null, longitude = null, altitude = null, placeholder = null
    where id = any(${ids}) and removed_at is null
    returning id, region, tier, size`
  await sql`
    update uploads set name = '', search_name = null, sender = null, message = null
    where image_id = any(${removed.map(({ id }) => id)})
      and (name <> '' or sender is not null or message is not null)`
  await count(sql, leftLocations(removed))
  return removed.map(({ id, region }) => ({ id, region }))
}

/** What leaves the counts of the storage locations. */
function leftLocations(images: (StorageLocation & { size: number })[]): CountLine[] {
  const lines = new Map<string, CountLine>()
  for (const { size, ...location } of images) {
    const key = locationKey(location)
    const { uploads, bytes } = lines.get(key.key) ?? { uploads: 0, bytes: 0 }
    lines.set(key.key, { ...key, uploads: uploads - 1, bytes: bytes - size })
  }
  return [...lines.values()]
}
