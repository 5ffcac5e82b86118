import type { Tier } from '../storage-location.ts'
import { count, daysToFold, foldDay, locationKey } from './counts.ts'
import type { LifecycleStore, LiveImage, OldRows, Removed } from './interfaces/lifecycle.ts'
import { markRemoved } from './removal.ts'
import type { Database, Sql } from './sql.ts'
import { callsWithin, type StoreCalls } from './store-call.ts'

// The sweep may take long: no client waits for it.
const { once, repeatable } = callsWithin(Number.POSITIVE_INFINITY)

const ago = (sql: Sql, milliseconds: number) =>
  sql`now() - ${milliseconds}::float8 * interval '1 millisecond'`

type Adopted = Parameters<LifecycleStore['adopt']>[0]

export function createLifecycle(sql: Database): StoreCalls<LifecycleStore> {
  return {
    now: repeatable(async () => {
      const [row] = await sql<{ now: Date }[]>`select now()`
      return row!.now
    }),

    count: repeatable(async () => {
      const [row] = await sql<{ images: number }[]>`
        select count(*) as images from images where removed_at is null`
      return row!.images
    }),

    faulty: repeatable(async () => {
      const [row] = await sql<{ images: number }[]>`
        select count(*) as images from images where object_fault is not null and removed_at is null`
      return row!.images
    }),

    find: repeatable(
      (ids) => sql<LiveImage[]>`
        select id, hash, size, region, tier from images where id = any(${ids}) and removed_at is null`,
    ),

    after: repeatable(
      (id, limit) => sql<LiveImage[]>`
        select id, hash, size, region, tier from images
        where id > ${id} and removed_at is null order by id limit ${limit}`,
    ),

    touch: repeatable(async (ids, precision) => {
      await sql`
        update images set last_accessed_at = now()
        where id = any(${ids}) and last_accessed_at < ${ago(sql, precision)}`
    }),

    hotNotAccessed: repeatable(
      ({ regions, milliseconds, limit }) => sql<LiveImage[]>`
        select id, hash, size, region, tier from images
        where region = any(${[...regions]}) and tier = 'hot'
          and status in ('ready', 'failed') and last_accessed_at < ${ago(sql, milliseconds)}
        order by last_accessed_at limit ${limit}`,
    ),

    coldAccessedSince: repeatable(
      ({ regions, milliseconds, limit }) => sql<LiveImage[]>`
        select id, hash, size, region, tier from images
        where region = any(${[...regions]}) and tier = 'cold' and status in ('ready', 'failed')
          ${milliseconds === undefined ? sql`` : sql`and last_accessed_at >= ${ago(sql, milliseconds)}`}
        order by last_accessed_at desc limit ${limit}`,
    ),

    move: once((id, to) => move(sql, id, to)),

    notAccessed: repeatable((old) => notAccessed(sql, old)),

    removeNotAccessed: once((old) => removeNotAccessed(sql, old)),

    corrupt: repeatable((old) => corrupt(sql, old)),

    removeCorrupt: once((old) => sql.begin(async (sql) => removeAll(sql, await corrupt(sql, old)))),

    deadLeases: repeatable(async ({ milliseconds }) => {
      const [row] = await sql<{ leases: number }[]>`
        select count(*) as leases from images
        where lease is not null and due_at < ${ago(sql, milliseconds)}`
      return row!.leases
    }),

    endDeadLeases: once(async ({ milliseconds }) => {
      const rows = await sql`
        update images set lease = null
        where lease is not null and due_at < ${ago(sql, milliseconds)}
        returning id`
      return rows.length
    }),

    hasImages: repeatable(async ({ region, tier }) => {
      const rows = await sql`
        select 1 from images where region = ${region} and tier = ${tier} and removed_at is null limit 1`
      return rows.length > 0
    }),

    adopt: once((image) => adopt(sql, image)),

    daysToFold: repeatable((limit) => daysToFold(sql, limit)),

    foldDay: once((day) => foldDay(sql, day)),
  }
}

/** Records that the object of an image is in another tier. False if it is there already, or if the image is removed. */
function move(sql: Database, id: string, to: Tier): Promise<boolean> {
  return sql.begin(async (sql) => {
    const [moved] = await sql<{ region: string; size: number }[]>`
      update images set tier = ${to}
      where id = ${id} and tier <> ${to} and removed_at is null returning region, size`
    if (!moved) return false
    const { region, size } = moved
    const from: Tier = to === 'hot' ? 'cold' : 'hot'
    await count(sql, [
      { ...locationKey({ region, tier: from }), uploads: -1, bytes: -size },
      { ...locationKey({ region, tier: to }), uploads: 1, bytes: size },
    ])
    return true
  })
}

/** Makes an image of an object that has none. False if there is one with its id or content. */
function adopt(sql: Database, image: Adopted): Promise<boolean> {
  const { isPrivate = null, receivedAt = null, shared = true } = image
  const { id, hash, size, region, tier, format, mediaType } = image
  return sql.begin(async (sql) => {
    const rows = await sql`
      insert into images (id, hash, size, status, region, tier, format, media_type, received_at, shared,
        private, strip_metadata)
      select ${id}, ${hash}, ${size}::bigint, 'pending', ${region}, ${tier}, ${format}, ${mediaType},
        coalesce(${receivedAt}::timestamptz, now()), ${shared}::boolean,
        coalesce(${isPrivate}::boolean, exists (select 1 from links where private)),
        exists (select 1 from links where strip_metadata)
      on conflict do nothing returning id`
    if (rows.length > 0) await count(sql, [{ ...locationKey({ region, tier }), uploads: 1, bytes: size }])
    return rows.length > 0
  })
}

/**
 * Removes images that nobody has accessed or uploaded for a time.
 *
 * An upload of a known image locks its row. If such an upload is in progress, the row is skipped; if it has ended, the
 * second look sees it.
 */
function removeNotAccessed(sql: Database, old: OldRows): Promise<Removed[]> {
  return sql.begin(async (sql) => {
    const candidates = await notAccessed(sql, old)
    const ids = candidates.map(({ id }) => id)
    const locked = await sql<{ id: string }[]>`
      select id from images where id = any(${ids}) for update skip locked`
    const due = await notAccessed(
      sql,
      old,
      locked.map(({ id }) => id),
    )
    return removeAll(sql, due)
  })
}

/** @param among only the images with these ids */
async function notAccessed(sql: Sql, { milliseconds, limit }: OldRows, among?: string[]) {
  return await sql<Removed[]>`
    select id, region from images
    where status in ('ready', 'failed') and last_accessed_at < ${ago(sql, milliseconds)}
      ${among ? sql`and id = any(${among})` : sql``}
      and not exists (
        select 1 from uploads where image_id = images.id and uploads.received_at >= ${ago(sql, milliseconds)}
      )
    order by last_accessed_at limit ${limit}`
}

async function corrupt(sql: Sql, { milliseconds, limit }: OldRows) {
  return await sql<Removed[]>`
    select id, region from images where status = 'corrupt' and due_at is null and settled_at < ${ago(sql, milliseconds)}
    order by settled_at limit ${limit}`
}

const removeAll = (sql: Sql, images: Removed[]) =>
  markRemoved(
    sql,
    images.map(({ id }) => id),
  )
