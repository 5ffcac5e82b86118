import postgres from 'postgres'
import { type ImageStatus, Metadata } from '../../schemas/images.ts'
import type { StorageLocation } from '../storage-location.ts'
import { batchLookups } from './batch-lookups.ts'
import { type CountKey, count } from './counts.ts'
import { beyond, type PageRequest, toPage } from './keyset.ts'
import { columnList, type Database, type Sql } from './sql.ts'

/** What is known of an image, as its row has it. */
export type MetadataRow = {
  [Field in keyof Metadata]-?: undefined extends Metadata[Field]
    ? Exclude<Metadata[Field], undefined> | null
    : Metadata[Field]
}

/** A row of `images`, without what only the queue needs. */
export interface ImageRow extends MetadataRow, StorageLocation {
  id: string
  hash: string
  size: number
  status: ImageStatus
  receivedAt: Date
  removedAt: Date | null
  failure: string | null
  /** When somebody last asked for it, to about a day. */
  lastAccessedAt: Date
}

/** What it takes to serve an image. */
export type ServedRow = Pick<
  ImageRow,
  'id' | 'hash' | 'size' | 'status' | 'mediaType' | 'removedAt' | 'region' | 'tier'
>

/** What a list of images is narrowed to. Ranges begin with `From` and end before `To`. */
export interface ImageSearch {
  status?: ImageStatus | undefined
  format?: string | undefined
  cameraModel?: string | undefined
  receivedFrom?: Date | undefined
  receivedTo?: Date | undefined
  /** The camera's own clock, or the beginning of it: `2026-11-01`. */
  takenFrom?: string | undefined
  takenTo?: string | undefined
  link?: string | undefined
  box?: Box | undefined
}

/** Degrees. A box whose west is greater than its east goes over the antimeridian (RFC 7946 §5.2). */
export interface Box {
  west: number
  south: number
  east: number
  north: number
}

/** An image that waits for a worker, pending or still to be verified, and that one worker has for a time. */
export interface Lease extends StorageLocation {
  imageId: string
  /** Names this lease; a verdict by a lease that ran out does not count. */
  token: string
  /** Whether it is not known yet what the image tells; else it waits to be verified. */
  pending: boolean
  format: string
  mediaType: string
  /** How many times the image has been leased, this time included. */
  attempt: number
}

/** What became of an image that waited; of one that is kept, what is known of it. */
export type Verdict =
  | { status: 'ready'; metadata: Metadata }
  | { status: 'corrupt' | 'failed'; failure: string; metadata?: Metadata }
  | { status: 'rejected'; failure: string }

/** The columns of what is known of an image: the fields of `Metadata`. */
export const metadataFields = Object.keys(Metadata.properties) as (keyof Metadata)[]

const columns = columnList([
  'id',
  'hash',
  'size',
  'status',
  ...metadataFields,
  'received_at',
  'removed_at',
  'failure',
  'region',
  'tier',
  'last_accessed_at',
])

// Few: who asks for many images in turn has the database and its driver busy with the columns of each.
const servedColumns = columnList([
  'id',
  'hash',
  'size',
  'status',
  'media_type',
  'removed_at',
  'region',
  'tier',
])

const metadataColumnOf = Object.fromEntries(metadataFields.map((field) => [field, postgres.fromCamel(field)]))

/** What is known of an image, by the names of the columns. */
export const metadataByColumn = (metadata: Metadata) =>
  Object.fromEntries(Object.entries(metadata).map(([field, value]) => [metadataColumnOf[field]!, value]))

/** What is known of an image, for an insert or an update. */
export const metadataColumns = (metadata: Metadata) =>
  Object.fromEntries(
    metadataFields.map((field) => [field, metadata[field] ?? null]),
  ) as unknown as MetadataRow

export function createImages(sql: Database) {
  return {
    // Joined laterally, for a look into the index for each: of a list of ids the planner may make a scan of the table.
    findServed: batchLookups(
      (ids) => sql<ServedRow[]>`
        select image.* from unnest(${ids}::text[]) as asked (id), lateral (
          select ${sql.unsafe(servedColumns)} from images where images.id = asked.id limit 1
        ) as image`,
      (row) => row.id,
    ),

    async find(id: string): Promise<ImageRow | undefined> {
      const [row] = await sql<ImageRow[]>`select ${sql.unsafe(columns)} from images where id = ${id}`
      return row
    },

    /** Newest first. */
    async page(request: PageRequest & { search?: ImageSearch }) {
      const rows = await sql<ImageRow[]>`
        select ${sql.unsafe(columns)} from images
        where ${beyond(sql, 'received_at', request)} ${matching(sql, request.search ?? {})}
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
        if (image?.was === 'pending') await recount(sql, image, { from: [], to: analysedKeys(image) })
        return image !== undefined
      })
    },

    /**
     * Leases up to `limit` images that wait and are due, for `milliseconds`. Who holds an image that is not settled,
     * extended or given back by then may lose it to the next one who asks.
     */
    async lease(request: { token: string; limit: number; milliseconds: number }): Promise<Lease[]> {
      // Materialized, because a plan may run a subquery once for each row of the table, and each time lock other rows.
      const rows = await sql<LeasedRow[]>`
        with due as materialized (
          select id from images
          where due_at <= now()
          order by due_at limit ${request.limit}
          for update skip locked
        )
        update images set
          lease = ${request.token}, attempts = attempts + 1,
          due_at = now() + ${request.milliseconds}::float8 * interval '1 millisecond'
        from due where images.id = due.id
        returning images.id, status, region, tier, format, media_type, attempts`
      return rows.map((row) => toLease(row, request.token))
    },

    /** Leases this image as `lease` does; undefined where it does not wait, or is not due yet. */
    async leaseOne(request: {
      imageId: string
      token: string
      milliseconds: number
    }): Promise<Lease | undefined> {
      const [row] = await sql<LeasedRow[]>`
        update images set
          lease = ${request.token}, attempts = attempts + 1,
          due_at = now() + ${request.milliseconds}::float8 * interval '1 millisecond'
        where id = ${request.imageId} and due_at <= now()
        returning id, status, region, tier, format, media_type, attempts`
      return row && toLease(row, request.token)
    },

    /** In how many milliseconds an image may be leased, at most 0 where it may be now; undefined where it does not wait. */
    async dueIn(imageId: string): Promise<number | undefined> {
      const [row] = await sql<{ milliseconds: number }[]>`
        select (extract(epoch from due_at - now()) * 1000)::double precision as milliseconds
        from images where id = ${imageId} and due_at is not null`
      return row?.milliseconds
    },

    /**
     * The ids of up to `limit` images that have been due for `olderThan` milliseconds without anybody leasing
     * them, longest due first: what a queue may have lost, for the sweep to announce again.
     */
    async unclaimed({ olderThan, limit }: { olderThan: number; limit: number }): Promise<string[]> {
      const rows = await sql<{ id: string }[]>`
        select id from images
        where due_at <= now() - ${olderThan}::float8 * interval '1 millisecond'
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
        where id = ${imageId} and lease = ${token} returning id`
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
        where id = ${imageId} and lease = ${token}`
    },

    /**
     * Ends the analysis of a leased image with a verdict and puts its uploads into the counts. False where the lease
     * is no longer the holder's: then another worker settles it, or it was removed.
     */
    async settle({ imageId, token }: Pick<Lease, 'imageId' | 'token'>, verdict: Verdict): Promise<boolean> {
      return sql.begin(async (sql) => {
        const settled = {
          status: verdict.status,
          failure: verdict.status === 'ready' ? null : verdict.failure,
          dueAt: null,
          lease: null,
          ...('metadata' in verdict && verdict.metadata && metadataColumns(verdict.metadata)),
        }
        const [before] = await sql<(Analysed & { status: ImageStatus })[]>`
          select id, status, format, camera_model, size from images
          where id = ${imageId} and lease = ${token} for update`
        if (!before) return false
        const [after] = await sql<Analysed[]>`
          update images set ${sql(settled)}, settled_at = now(),
            removed_at = ${verdict.status === 'rejected' ? sql`now()` : null}
          where id = ${imageId}
          returning id, format, camera_model, size`
        const from = before.status === 'pending' ? [] : analysedKeys(before)
        const to = verdict.status === 'corrupt' ? [] : analysedKeys(after!)
        if (verdict.status === 'rejected') await uncount(sql, before, from)
        else await recount(sql, before, { from, to })
        return true
      })
    },

    /** How many images wait for a worker. */
    async waiting(): Promise<number> {
      const [row] = await sql<{ pending: number }[]>`
        select count(*) as pending from images where due_at is not null`
      return row!.pending
    },
  }
}

/** The conditions of a search, each led by `and`. */
function matching(sql: Sql, search: ImageSearch) {
  const { status, format, cameraModel, receivedFrom, receivedTo, takenFrom, takenTo, link, box } = search
  const conditions = [
    status && sql`and status = ${status}`,
    format && sql`and format = ${format}`,
    cameraModel && sql`and camera_model = ${cameraModel}`,
    receivedFrom && sql`and received_at >= ${receivedFrom}`,
    receivedTo && sql`and received_at < ${receivedTo}`,
    takenFrom && sql`and taken_at >= ${takenFrom}`,
    takenTo && sql`and taken_at < ${takenTo}`,
    link && sql`and id in (select image_id from uploads where link_id = ${link})`,
    box && within(sql, box),
  ].filter((condition) => condition !== undefined && condition !== '')
  return conditions.length > 0 ? conditions : sql``
}

const within = (sql: Sql, { west, south, east, north }: Box) => sql`
  and latitude between ${south} and ${north}
  and ${
    west <= east
      ? sql`longitude between ${west} and ${east}`
      : sql`(longitude >= ${west} or longitude <= ${east})`
  }`

interface LeasedRow extends StorageLocation {
  id: string
  status: ImageStatus
  format: string
  mediaType: string
  attempts: number
}

const toLease = (row: LeasedRow, token: string): Lease => ({
  imageId: row.id,
  token,
  pending: row.status === 'pending',
  region: row.region,
  tier: row.tier,
  format: row.format,
  mediaType: row.mediaType,
  attempt: row.attempts,
})

type Analysed = Pick<ImageRow, 'id' | 'format' | 'cameraModel' | 'size'>

// An upload counts towards its day at once, and towards a format and a camera when its image has been analysed; not
// where that shows that it is corrupt. The caller has changed the image's row, and an upload of a known image locks that
// row: so no upload comes in between.

/** Has the uploads of an image count towards other keys than before. */
async function recount(sql: Sql, image: Analysed, { from, to }: { from: CountKey[]; to: CountKey[] }) {
  const left = from.filter((key) => !to.some(isSameAs(key)))
  const entered = to.filter((key) => !from.some(isSameAs(key)))
  if (left.length + entered.length === 0) return
  const days = await uploadDays(sql, image)
  const uploads = days.reduce((sum, day) => sum + day.uploads, 0)
  await count(sql, [...lines(left, -uploads, image), ...lines(entered, uploads, image)])
}

/** Takes what turned out to be no image off its days again, and off what else it counted towards. */
async function uncount(sql: Sql, image: Analysed, from: CountKey[]) {
  const days = await uploadDays(sql, image)
  const uploads = days.reduce((sum, day) => sum + day.uploads, 0)
  await count(sql, [
    ...days.flatMap(({ day, uploads }) => lines([{ kind: 'day', key: day }], -uploads, image)),
    ...lines(from, -uploads, image),
  ])
}

const isSameAs = (a: CountKey) => (b: CountKey) => a.kind === b.kind && a.key === b.key

const lines = (keys: CountKey[], uploads: number, { size }: Analysed) =>
  keys.map((key) => ({ ...key, uploads, bytes: uploads * size }))

const uploadDays = (sql: Sql, { id }: Analysed) => sql<{ day: string; uploads: number }[]>`
  select (received_at at time zone 'UTC')::date::text as day, count(*) as uploads
  from uploads where image_id = ${id} group by 1`

/** What an upload of an analysed image counts towards. */
const analysedKeys = (image: Pick<ImageRow, 'format' | 'cameraModel'>): CountKey[] => [
  { kind: 'format', key: image.format },
  { kind: 'model', key: image.cameraModel ?? '' },
]
