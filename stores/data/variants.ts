import type { StoredVariant, VariantClaim, VariantRow, VariantStore } from './interfaces/variants.ts'
import type { Database, Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

const columns =
  'image_id, spec, object_key, size, hash, media_type, created_at, attempts, failure, failure_kind'

export function createVariants(sql: Database): StoreCalls<VariantStore> {
  return {
    find: repeatable(async (imageId, spec) => {
      const [row] = await sql<VariantRow[]>`
        select ${sql.unsafe(columns)} from variants
        where image_id = ${imageId} and spec = ${spec} and object_key is not null`
      return row
    }),

    claim: repeatable((request) => claim(sql, request)),

    settle: repeatable(async (imageId, spec, lease, { objectKey, size, hash, mediaType }) => {
      // The row of a removed image was deleted in the transaction of the removal.
      const [row] = await sql<[{ count: number }]>`
        with settled as (
          update variants set
            object_key = ${objectKey}, size = ${size}, hash = ${hash}, media_type = ${mediaType}, created_at = now(),
            lease = null, failure = null, failure_kind = null
          where image_id = ${imageId} and spec = ${spec} and (lease = ${lease} or object_key = ${objectKey})
          returning image_id
        )
        select count(*)::int as count from settled join variants on variants.image_id = settled.image_id`
      return row.count
    }),

    fail: repeatable(async (imageId, spec, lease, { failure, kind, milliseconds }) => {
      await sql`
        update variants set
          lease = null, failure = ${failure}, failure_kind = ${kind}, attempts = least(attempts + 1, 32767),
          due_at = now() + ${milliseconds}::float8 * interval '1 millisecond'
        where image_id = ${imageId} and spec = ${spec} and lease = ${lease}`
    }),

    giveBack: repeatable(async (imageId, spec, lease) => {
      await sql`delete from variants where image_id = ${imageId} and spec = ${spec} and lease = ${lease}`
    }),

    trim: repeatable((imageId, most) =>
      keysOf(sql`
        delete from variants where image_id = ${imageId} and spec in (
          select spec from variants where image_id = ${imageId} order by created_at desc, spec offset ${most}
        ) returning object_key`),
    ),

    removeOf: once(
      (imageIds) => sql<{ imageId: string; objectKey: string | null }[]>`
        delete from variants where image_id = any(${imageIds}) returning image_id, object_key`,
    ),

    removeSome: once(
      (limit) => sql<{ objectKey: string | null; region: string }[]>`
        with chosen as (select image_id, spec from variants where lease is null limit ${limit}),
        removed as (
          delete from variants using chosen
          where variants.image_id = chosen.image_id and variants.spec = chosen.spec
          returning variants.image_id, object_key
        )
        select object_key, region from removed join images on images.id = removed.image_id`,
    ),

    removeOrphans: once(async () => {
      const rows = await sql`
        delete from variants using images
        where images.id = variants.image_id and images.removed_at is not null returning spec`
      return rows.length
    }),

    remove: repeatable(async (objectKey) => {
      const rows = await sql`delete from variants where object_key = ${objectKey} returning spec`
      return rows.length > 0
    }),

    live: repeatable(async (objectKeys) => {
      const rows = await sql<{ objectKey: string }[]>`
        select object_key from variants join images on images.id = variants.image_id
        where object_key = any(${objectKeys}) and images.removed_at is null`
      return rows.map(({ objectKey }) => objectKey)
    }),

    after: repeatable(
      (objectKey, limit) => sql<StoredVariant[]>`
        select object_key, image_id, region, variants.hash
        from variants join images on images.id = variants.image_id
        where object_key > ${objectKey} order by object_key limit ${limit}`,
    ),
  }
}

/**
 * The image's row is locked, so that it is not removed in between. The statement inserts a row, takes over one whose lease
 * or pause is over, or changes nothing. Then the row says why.
 */
async function claim(
  sql: Database,
  { imageId, spec, lease, milliseconds }: Parameters<VariantStore['claim']>[0],
): Promise<VariantClaim | undefined> {
  const [claimed] = await sql<[{ isThere: boolean; attempts: number | null }]>`
    with image as (select id from images where id = ${imageId} and removed_at is null for share),
    claimed as (
      insert into variants (image_id, spec, lease, due_at)
      select id, ${spec}, ${lease}, now() + ${milliseconds}::float8 * interval '1 millisecond' from image
      on conflict (image_id, spec) do update set lease = excluded.lease, due_at = excluded.due_at
      where variants.object_key is null and (variants.due_at <= now() or variants.lease = excluded.lease)
      returning attempts
    )
    select exists (select id from image) as is_there, (select attempts from claimed) as attempts`
  if (!claimed.isThere) return undefined
  if (claimed.attempts !== null) return { state: 'claimed', attempts: claimed.attempts }
  const [row] = await sql<(VariantRow & { wait: number; isMade: boolean })[]>`
    select ${sql.unsafe(columns)}, lease is not null as is_made,
      (extract(epoch from due_at - now()) * 1000)::double precision as wait
    from variants where image_id = ${imageId} and spec = ${spec}`
  if (!row) return { state: 'made elsewhere' }
  if (row.objectKey !== null) return { state: 'ready', row }
  return row.isMade || row.failure === null
    ? { state: 'made elsewhere' }
    : { state: 'failed', row, wait: Math.max(0, row.wait) }
}

async function keysOf(
  deleting: Promise<{ objectKey: string | null }[]> | ReturnType<Sql>,
): Promise<string[]> {
  const rows = (await deleting) as unknown as { objectKey: string | null }[]
  return rows.flatMap(({ objectKey }) => objectKey ?? [])
}
