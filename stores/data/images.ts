import type { ImageFilter, ImageStatus, Metadata } from '../../schemas/images.ts'
import { type CountKey, count } from './counts.ts'
import { beyond, type PageRequest, toPage } from './keyset.ts'
import type { Database, Sql } from './sql.ts'

/** A row of `images`, without what only the queue needs. */
export interface ImageRow extends Record<keyof Metadata, unknown> {
  id: string
  hash: string
  size: number
  status: ImageStatus
  format: string
  mediaType: string
  width: number | null
  height: number | null
  orientation: number | null
  cameraMake: string | null
  cameraModel: string | null
  takenAt: string | null
  takenOffset: string | null
  latitude: number | null
  longitude: number | null
  altitude: number | null
  receivedAt: Date
  removedAt: Date | null
  failure: string | null
  tier: Tier
  /** When somebody last asked for it, to about a day. */
  askedAt: Date
}

/** In which store an image's object lies. */
export type Tier = 'hot' | 'cold'

/** A pending image that one worker has for a time. */
export interface Lease {
  imageId: string
  /** Names this lease; a verdict by a lease that ran out does not count. */
  token: string
  format: string
  mediaType: string
  /** How many times the image has been leased, this time included. */
  attempt: number
}

/** What became of a pending image. */
export type Verdict =
  | { status: 'ready'; metadata: Metadata }
  | { status: 'rejected' | 'corrupt' | 'failed'; failure: string }

const columns = [
  'id',
  'hash',
  'size',
  'status',
  'format',
  'media_type',
  'width',
  'height',
  'orientation',
  'camera_make',
  'camera_model',
  'taken_at',
  'taken_offset',
  'latitude',
  'longitude',
  'altitude',
  'received_at',
  'removed_at',
  'failure',
  'tier',
  'asked_at',
]

/** The columns of what is known of an image, for an insert or an update. */
export const metadataColumns = (metadata: Partial<Metadata>) => ({
  width: metadata.width ?? null,
  height: metadata.height ?? null,
  orientation: metadata.orientation ?? null,
  cameraMake: metadata.cameraMake ?? null,
  cameraModel: metadata.cameraModel ?? null,
  takenAt: metadata.takenAt ?? null,
  takenOffset: metadata.takenOffset ?? null,
  latitude: metadata.latitude ?? null,
  longitude: metadata.longitude ?? null,
  altitude: metadata.altitude ?? null,
})

export function createImages(sql: Database) {
  return {
    async find(id: string): Promise<ImageRow | undefined> {
      const [row] = await sql<ImageRow[]>`select ${sql(columns)} from images where id = ${id}`
      return row
    },

    /** Newest first. */
    async page(request: PageRequest & { filter?: ImageFilter }) {
      const { status, format, cameraModel } = request.filter ?? {}
      const rows = await sql<ImageRow[]>`
        select ${sql(columns)} from images
        where ${beyond(sql, 'received_at', request)}
          ${status ? sql`and status = ${status}` : sql``}
          ${format ? sql`and format = ${format}` : sql``}
          ${cameraModel ? sql`and camera_model = ${cameraModel}` : sql``}
        order by received_at desc, id desc limit ${request.limit + 1}`
      return toPage(rows, request, (row) => row.receivedAt)
    },

    /** Marks the image as removed; false where there is none that is still there. Its object is the caller's to delete. */
    async remove(id: string): Promise<boolean> {
      return sql.begin(async (sql) => {
        const [image] = await sql<(Analysed & { was: ImageStatus })[]>`
          update images set status = 'removed', removed_at = now(), lease = null, due_at = null
          from (select id, status from images where id = ${id} for update) as before
          where images.id = before.id and removed_at is null
          returning before.status as was, images.id, format, camera_model, size`
        if (image?.was === 'pending') await countAnalysed(sql, image)
        return image !== undefined
      })
    },

    /**
     * Leases up to `limit` pending images that are due, for `milliseconds`. Who holds an image that is not settled,
     * extended or given back by then may lose it to the next one who asks.
     */
    async lease(request: { token: string; limit: number; milliseconds: number }): Promise<Lease[]> {
      // Materialized, because a plan may run a subquery once for each row of the table, and each time lock other rows.
      const rows = await sql<LeasedRow[]>`
        with due as materialized (
          select id from images
          where status = 'pending' and due_at <= now()
          order by due_at limit ${request.limit}
          for update skip locked
        )
        update images set
          lease = ${request.token}, attempts = attempts + 1,
          due_at = now() + ${request.milliseconds}::float8 * interval '1 millisecond'
        from due where images.id = due.id
        returning images.id, format, media_type, attempts`
      return rows.map((row) => toLease(row, request.token))
    },

    /** Leases this image as `lease` does; undefined where it is not pending, or not due yet. */
    async leaseOne(request: {
      imageId: string
      token: string
      milliseconds: number
    }): Promise<Lease | undefined> {
      const [row] = await sql<LeasedRow[]>`
        update images set
          lease = ${request.token}, attempts = attempts + 1,
          due_at = now() + ${request.milliseconds}::float8 * interval '1 millisecond'
        where id = ${request.imageId} and status = 'pending' and due_at <= now()
        returning id, format, media_type, attempts`
      return row && toLease(row, request.token)
    },

    /** In how many milliseconds a pending image may be leased, at most 0 where it may be now; undefined where it is not pending. */
    async dueIn(imageId: string): Promise<number | undefined> {
      const [row] = await sql<{ milliseconds: number }[]>`
        select (extract(epoch from due_at - now()) * 1000)::double precision as milliseconds
        from images where id = ${imageId} and status = 'pending'`
      return row?.milliseconds
    },

    /**
     * The ids of up to `limit` pending images that have been due for `olderThan` milliseconds without anybody leasing
     * them, longest due first: what a queue may have lost, for the sweep to announce again.
     */
    async unclaimed({ olderThan, limit }: { olderThan: number; limit: number }): Promise<string[]> {
      const rows = await sql<{ id: string }[]>`
        select id from images
        where status = 'pending' and due_at <= now() - ${olderThan}::float8 * interval '1 millisecond'
        order by due_at limit ${limit}`
      return rows.map(({ id }) => id)
    },

    /** Keeps a leased image for another `milliseconds` from now; false where the lease is no longer the holder's. */
    async extend(
      { imageId, token }: Pick<Lease, 'imageId' | 'token'>,
      { milliseconds }: { milliseconds: number },
    ): Promise<boolean> {
      const rows = await sql`
        update images set due_at = now() + ${milliseconds}::float8 * interval '1 millisecond'
        where id = ${imageId} and lease = ${token} and status = 'pending' returning id`
      return rows.length > 0
    },

    /** Gives a leased image back, to be leased again after `milliseconds`; with `uncounted`, as if it had not been leased. */
    async giveBack(
      { imageId, token }: Lease,
      {
        milliseconds,
        failure,
        uncounted = false,
      }: { milliseconds: number; failure?: string; uncounted?: boolean },
    ): Promise<void> {
      await sql`
        update images set
          lease = null, due_at = now() + ${milliseconds}::float8 * interval '1 millisecond',
          attempts = attempts - ${uncounted ? 1 : 0}, failure = ${failure ?? null}
        where id = ${imageId} and lease = ${token} and status = 'pending'`
    },

    /**
     * Ends the analysis of a leased image with a verdict and puts its uploads into the counts. False where the lease
     * is no longer the holder's: then another worker settles it, or it was removed.
     */
    async settle({ imageId, token }: Pick<Lease, 'imageId' | 'token'>, verdict: Verdict): Promise<boolean> {
      const ready = verdict.status === 'ready'
      return sql.begin(async (sql) => {
        const settled = {
          status: verdict.status,
          failure: ready ? null : verdict.failure,
          dueAt: null,
          lease: null,
          ...(ready && {
            format: verdict.metadata.format,
            mediaType: verdict.metadata.mediaType,
            ...metadataColumns(verdict.metadata),
          }),
        }
        const [image] = await sql<Analysed[]>`
          update images set ${sql(settled)}, settled_at = now(),
            removed_at = ${verdict.status === 'rejected' ? sql`now()` : null}
          where id = ${imageId} and lease = ${token} and status = 'pending'
          returning id, format, camera_model, size`
        if (!image) return false
        if (verdict.status === 'rejected') await uncount(sql, image)
        else if (verdict.status !== 'corrupt') await countAnalysed(sql, image)
        return true
      })
    },

    /** How many images wait for a worker. */
    async pending(): Promise<number> {
      const [row] = await sql<{ pending: number }[]>`
        select count(*) as pending from images where status = 'pending'`
      return row!.pending
    },
  }
}

interface LeasedRow {
  id: string
  format: string
  mediaType: string
  attempts: number
}

const toLease = (row: LeasedRow, token: string): Lease => ({
  imageId: row.id,
  token,
  format: row.format,
  mediaType: row.mediaType,
  attempt: row.attempts,
})

type Analysed = Pick<ImageRow, 'id' | 'format' | 'cameraModel' | 'size'>

// An upload counts towards its day at once, and towards a format and a camera when its image has been analysed; never
// where that shows that it is corrupt. The caller has changed the image's row, and an upload of a known image locks that row: so no upload comes in between.

async function countAnalysed(sql: Sql, image: Analysed) {
  const days = await uploadDays(sql, image)
  const uploads = days.reduce((sum, day) => sum + day.uploads, 0)
  await count(
    sql,
    analysedKeys(image).map((key) => ({ ...key, uploads, bytes: uploads * image.size })),
  )
}

/** Takes what turned out to be no image off its days again. */
async function uncount(sql: Sql, image: Analysed) {
  const days = await uploadDays(sql, image)
  await count(
    sql,
    days.map(({ day, uploads }) => ({
      kind: 'day',
      key: day,
      uploads: -uploads,
      bytes: -uploads * image.size,
    })),
  )
}

const uploadDays = (sql: Sql, { id }: Analysed) => sql<{ day: string; uploads: number }[]>`
  select (received_at at time zone 'UTC')::date::text as day, count(*) as uploads
  from uploads where image_id = ${id} group by 1`

/** What an upload of an analysed image counts towards. */
export const analysedKeys = (image: Pick<ImageRow, 'format' | 'cameraModel'>): CountKey[] => [
  { kind: 'format', key: image.format },
  { kind: 'model', key: image.cameraModel ?? '' },
]
