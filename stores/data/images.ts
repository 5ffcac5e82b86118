import type { ImageStatus } from '../../schemas/images.ts'
import { batchLookups } from './batch-lookups.ts'
import { type CountedImage, keysOfAnalysed, moveCounts } from './image-counts.ts'
import { searchImages } from './image-search.ts'
import type { ImageRow, ImageStore, ObjectFault, ServedRow } from './interfaces/images.ts'
import { markRemoved } from './removal.ts'
import type { Database, Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

const columns = `
  id, hash, size, status, region, tier,
  format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
  latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder,
  damaged, damage, present_share,
  received_at, removed_at, failure, object_fault, last_accessed_at, private, strip_metadata`

export function createImages(sql: Database): StoreCalls<ImageStore> {
  return {
    // Only a few columns: each costs the database and the driver time, for every image that is not in a cache.
    // Joined laterally, so that each id is one index look-up: for a list of ids the planner may scan the table.
    findServed: repeatable(
      batchLookups(
        (ids) => sql<ServedRow[]>`
          select image.* from unnest(${ids as string[]}::text[]) as wanted (id), lateral (
            select id, hash, size, status, media_type, received_at, removed_at, region, tier, private, strip_metadata,
              placeholder is not null as decoded
            from images where images.id = wanted.id limit 1
          ) as image`,
        (row) => row.id,
      ),
    ),

    find: repeatable(async (id) => {
      const [row] = await sql<ImageRow[]>`select ${sql.unsafe(columns)} from images where id = ${id}`
      return row
    }),

    countByStatus: repeatable(
      (statuses) => sql<{ status: ImageStatus; count: number }[]>`
        select status, count(*) as count from images where status = any(${statuses}) group by status`,
    ),

    page: repeatable(({ search = {}, ...request }) =>
      searchImages({ sql, columns, request: { ...request, search } }),
    ),

    remove: once((id) => remove(sql, id)),

    markFault: repeatable((id, fault) => markFault(sql, id, fault)),
  }
}

async function remove(sql: Database, id: string): Promise<boolean> {
  return sql.begin(async (sql) => {
    const [image] = await sql<(CountedImage & { status: ImageStatus })[]>`
      select id, status, format, camera_model, size from images
      where id = ${id} and removed_at is null for update`
    if (!image) return false
    await markRemoved(sql, [id])
    if (image.status === 'pending') await moveCounts(sql, image, { from: [], to: keysOfAnalysed(image) })
    return true
  })
}

/** Writes only if the fault is another one: nearly all images have none, before and after. */
async function markFault(sql: Sql, id: string, fault: ObjectFault | null) {
  const [image] = await sql<{ objectFault: ObjectFault | null }[]>`
    select object_fault from images where id = ${id} and removed_at is null`
  if (image && image.objectFault !== fault)
    await sql`update images set object_fault = ${fault} where id = ${id} and removed_at is null`
  return image?.objectFault
}
