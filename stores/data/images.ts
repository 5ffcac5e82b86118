import type { ImageStatus } from '../../schemas/images.ts'
import { batchLookups } from './batch-lookups.ts'
import type { Box, ImageRow, ImageSearch, ImageStore, ObjectFault, ServedRow } from './data-store.ts'
import { type CountedImage, keysOfAnalysed, moveCounts } from './image-counts.ts'
import { afterKeyset, toPage } from './keyset.ts'
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

    page: repeatable(async (request) => {
      const rows = await sql<ImageRow[]>`
        select ${sql.unsafe(columns)} from images
        where ${afterKeyset(sql, 'received_at', request)} ${searchConditions(sql, request.search ?? {})}
        order by received_at desc, id desc limit ${request.limit + 1}`
      return toPage(rows, request, (row) => row.receivedAt)
    }),

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

/** The conditions of a search, each after an `and`. */
function searchConditions(sql: Sql, search: ImageSearch) {
  const {
    status,
    format,
    cameraModel,
    receivedFrom,
    receivedTo,
    takenFrom,
    takenTo,
    link,
    name,
    hash,
    ids,
    box,
    objectFault,
  } = search
  const all = [
    status && sql`and status = ${status}`,
    format && sql`and format = ${format}`,
    cameraModel && sql`and camera_model = ${cameraModel}`,
    receivedFrom && sql`and received_at >= ${receivedFrom}`,
    receivedTo && sql`and received_at < ${receivedTo}`,
    takenFrom && sql`and taken_at >= ${takenFrom}`,
    takenTo && sql`and taken_at < ${takenTo}`,
    link && sql`and id in (select image_id from uploads where link_id = ${link})`,
    // Like ilike, and three to four times as fast. An index that finds parts of names would slow down each upload.
    name && sql`and id in (select image_id from uploads where strpos(lower(name), lower(${name})) > 0)`,
    hash && withHash(sql, hash),
    search.damaged === undefined ? undefined : sql`and coalesce(damaged, false) = ${search.damaged}`,
    ids && sql`and id = any(${ids})`,
    objectFault && sql`and object_fault = ${objectFault}`,
    // The same as "removed_at is null". Without statistics, PostgreSQL takes that for rare, and sorts the whole table.
    search.isPresent ? sql`and status not in ('removed', 'rejected')` : undefined,
    box && insideBox(sql, box),
  ].filter((condition) => condition !== undefined && condition !== '')
  return all.length > 0 ? all : sql``
}

/**
 * The images whose hash begins with `prefix`, by the unique index on region and hash. The counts name all regions that have
 * images. A letter after f ends the range in any collation.
 */
const withHash = (sql: Sql, prefix: string) => sql`
  and id in (
    select found.id from (
      select distinct split_part(key, ' ', 2) as region from upload_counts where kind = 'location'
    ) as place, lateral (
      select id from images where images.region = place.region and hash >= ${prefix} and hash < ${`${prefix}g`}
        and removed_at is null and shared
    ) as found
    union all
    select id from images where hash >= ${prefix} and hash < ${`${prefix}g`} and removed_at is null and not shared
  )`

const insideBox = (sql: Sql, { west, south, east, north }: Box) => sql`
  and latitude between ${south} and ${north}
  and ${
    west <= east
      ? sql`longitude between ${west} and ${east}`
      : sql`(longitude >= ${west} or longitude <= ${east})`
  }`
