import type { Tier } from '../storage-location.ts'
import { daysToFold, foldDay } from './counts.ts'
import type { ImageRow } from './images.ts'
import type { Database, Sql } from './sql.ts'

/** Of an image that is not removed: where its object must be. */
export type LiveImage = Pick<ImageRow, 'id' | 'hash' | 'size' | 'region' | 'tier'>

/** An image that was removed; its object may lie in any store of the region. */
export type Removed = Pick<ImageRow, 'id' | 'region'>

/** Up to `limit` rows of what has been so for `milliseconds`, longest first. */
interface OldRows {
  milliseconds: number
  limit: number
}

// What is known and not found damaged. Others stay where they are: a worker may be reading them, or a grace runs.
const settled = (sql: Sql) => sql`status in ('ready', 'failed')`
const ago = (sql: Sql, milliseconds: number) =>
  sql`now() - ${milliseconds}::float8 * interval '1 millisecond'`

/** What happens to images after they have come in. Every time is the database's. */
export function createLifecycle(sql: Database) {
  const unasked = ({ milliseconds }: OldRows) =>
    sql`${settled(sql)} and last_accessed_at < ${ago(sql, milliseconds)}`

  return {
    async now(): Promise<Date> {
      const [row] = await sql<{ now: Date }[]>`select now()`
      return row!.now
    },

    /** How many images are not removed. */
    async count(): Promise<number> {
      const [row] = await sql<{ images: number }[]>`
        select count(*) as images from images where removed_at is null`
      return row!.images
    },

    /** Those of the ids whose image is not removed. */
    find: (ids: string[]): Promise<LiveImage[]> =>
      sql<
        LiveImage[]
      >`select id, hash, size, region, tier from images where id = any(${ids}) and removed_at is null`,

    /** The images that are not removed, in the order of their ids, from after `id` on. */
    after: (id: string, limit: number): Promise<LiveImage[]> =>
      sql<LiveImage[]>`
        select id, hash, size, region, tier from images
        where id > ${id} and removed_at is null order by id limit ${limit}`,

    /**
     * Says that somebody asked for the images now. Writes only where the time that is known is older than `precision`,
     * in milliseconds.
     */
    async touch(ids: string[], precision: number): Promise<void> {
      await sql`
          update images set last_accessed_at = now()
          where id = any(${ids}) and last_accessed_at < ${ago(sql, precision)}`
    },

    /** What lies hot in one of the regions, and nobody asked for in that time. */
    hotNotAccessed: ({ regions, ...old }: OldRows & { regions: readonly string[] }): Promise<LiveImage[]> =>
      sql<LiveImage[]>`
        select id, hash, size, region, tier from images 
        where region = any(${[...regions]}) and tier = 'hot' and ${unasked(old)}
        order by last_accessed_at limit ${old.limit}`,

    /** What lies cold in one of the regions; with `milliseconds`, only what somebody asked for in that time. Latest asked for first. */
    coldAccessedSince: ({
      regions,
      milliseconds,
      limit,
    }: {
      regions: readonly string[]
      milliseconds: number | undefined
      limit: number
    }): Promise<LiveImage[]> =>
      sql<LiveImage[]>`
        select id, hash, size, region, tier from images 
        where region = any(${[...regions]}) and tier = 'cold' and ${settled(sql)}
          ${milliseconds === undefined ? sql`` : sql`and last_accessed_at >= ${ago(sql, milliseconds)}`}
        order by last_accessed_at desc limit ${limit}`,

    /** Says that an image's object lies in the other store now; false where it does already, or the image was removed. */
    async move(id: string, to: Tier): Promise<boolean> {
      const rows = await sql`
          update images set tier = ${to}
          where id = ${id} and tier <> ${to} and removed_at is null returning id`
      return rows.length > 0
    },

    /** What nobody asked for in that time, nor uploaded again. */
    notAccessed: (old: OldRows): Promise<Removed[]> => notAccessed(sql, old),

    /**
     * Marks those as removed, and returns them. Their objects are the caller's to delete.
     *
     * An upload of a known image locks its row. So one that is going on makes this skip the row; one that has ended
     * before is seen by the second statement.
     */
    removeNotAccessed: (old: OldRows): Promise<Removed[]> =>
      sql.begin(async (sql) => {
        const candidates = await notAccessed(sql, old)
        const ids = candidates.map(({ id }) => id)
        const locked = await sql<{ id: string }[]>`
          select id from images where id = any(${ids}) for update skip locked`
        const due = await notAccessed(
          sql,
          old,
          locked.map(({ id }) => id),
        )
        return markRemoved(sql, due)
      }),

    /** What was found corrupt so long ago. */
    corrupt: (old: OldRows): Promise<Removed[]> => corrupt(sql, old),

    /** Marks those as removed, and returns them. Their objects are the caller's to delete. */
    removeCorrupt: (old: OldRows): Promise<Removed[]> =>
      sql.begin(async (sql) => markRemoved(sql, await corrupt(sql, old))),

    /** How many images that wait have a lease that ran out so long ago: those of dead workers. */
    async deadLeases({ milliseconds }: { milliseconds: number }): Promise<number> {
      const [row] = await sql<{ leases: number }[]>`
        select count(*) as leases from images
        where lease is not null and due_at < ${ago(sql, milliseconds)}`
      return row!.leases
    },

    /** Ends those leases, so that a verdict that still comes by one does not count. */
    async endDeadLeases({ milliseconds }: { milliseconds: number }): Promise<number> {
      const rows = await sql`
          update images set lease = null
          where lease is not null and due_at < ${ago(sql, milliseconds)}
          returning id`
      return rows.length
    },

    daysToFold: (limit: number) => daysToFold(sql, limit),
    foldDay: (day: string) => foldDay(sql, day),
  }
}

async function notAccessed(sql: Sql, { milliseconds, limit }: OldRows, among?: string[]) {
  return await sql<Removed[]>`
    select id, region from images
    where ${settled(sql)} and last_accessed_at < ${ago(sql, milliseconds)}
      ${among ? sql`and id = any(${among})` : sql``}
      and not exists (
        select 1 from uploads where image_id = images.id and uploads.received_at >= ${ago(sql, milliseconds)}
      )
    order by last_accessed_at limit ${limit}`
}

async function corrupt(sql: Sql, { milliseconds, limit }: OldRows) {
  return await sql<Removed[]>`
    select id, region from images where status = 'corrupt' and settled_at < ${ago(sql, milliseconds)}
    order by settled_at limit ${limit}`
}

async function markRemoved(sql: Sql, images: Removed[]) {
  const ids = images.map(({ id }) => id)
  return await sql<Removed[]>`
    update images set status = 'removed', removed_at = now(), lease = null, due_at = null
    where id = any(${ids}) and removed_at is null returning id, region`
}
