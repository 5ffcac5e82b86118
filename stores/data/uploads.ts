import type { PendingQuery } from 'postgres'
import type { ImageStatus, Metadata } from '../../schemas/images.ts'
import { adding, randomShard } from './counts.ts'
import { type MetadataRow, metadataColumns, metadataFields } from './images.ts'
import { beyond, type PageRequest, toPage } from './keyset.ts'
import type { LinkRow } from './links.ts'
import type { Database, Sql } from './sql.ts'

/** A part that was received whole. */
export interface Received {
  link: Pick<LinkRow, 'id' | 'region' | 'maxImages' | 'maxBytes'>
  name: string
  /** SHA-256 in hex. */
  hash: string
  /** Bytes. */
  size: number
}

/** The image that a part becomes where its content is new; its object is in the object store of the link's region under `id`. */
export interface NewImage {
  id: string
  /** Whether `metadata` is all that is known of it, but for its verification, or a worker has to look (pending). */
  status: 'ready' | 'pending'
  metadata: Metadata
  /** Whether uploads with the same content become uploads of it, as by default; else it stays an image of its own. */
  shared?: boolean
}

/** What became of it: the image that it is now an upload of, or that the link had no room for it. */
export type Recorded = RecordedUpload | 'link_used_up'

export interface RecordedUpload {
  id: string
  status: ServedStatus
  duplicate: boolean
  metadata: MetadataRow
}

/** The status of an image that has not been removed. */
type ServedStatus = Exclude<ImageStatus, 'rejected' | 'removed'>

export interface UploadRow {
  id: string
  imageId: string
  name: string
  size: number
  duplicate: boolean
  status: ImageStatus
  receivedAt: Date
}

export function createUploads(sql: Database) {
  return {
    /**
     * Records a part as an upload: of a new image, or where that is to be shared, of the shared one of the link's region
     * with the same hash where there is one. The unique index decides between two that race.
     */
    async record(received: Received, image: NewImage): Promise<Recorded> {
      const record = async (sql: Sql) => {
        const recorded = (await recordNew(sql, received, image)) ?? (await recordDuplicate(sql, received))
        // The known image was removed between the two statements: what runs again sees it gone.
        if (!recorded) throw Object.assign(new Error('the known image has gone'), { code: '40001' })
        return recorded
      }
      if (!isLimited(received.link)) return record(sql)
      return sql.begin(async (sql) => ((await takeRoom(sql, received)) ? record(sql) : 'link_used_up'))
    },

    /** Records a part as an upload of the shared image of the link's region with the same hash; undefined where there is none. */
    async recordKnown(received: Received): Promise<Recorded | undefined> {
      if (!isLimited(received.link)) return recordDuplicate(sql, received)
      return sql.begin(async (sql) => {
        const [image] = await lockedImage(sql, received)
        if (!image) return undefined
        return (await takeRoom(sql, received)) ? recordDuplicate(sql, received) : 'link_used_up'
      })
    },

    /** What came in by a link, newest first. */
    async pageOfLink(linkId: string, request: PageRequest) {
      const rows = await sql<UploadRow[]>`
        select uploads.*, images.size, images.status from (
          select * from uploads
          where link_id = ${linkId} and ${beyond(sql, 'received_at', request)}
          order by received_at desc, id desc limit ${request.limit + 1}
        ) as uploads join images on images.id = uploads.image_id
        order by uploads.received_at desc, uploads.id desc`
      return toPage(rows, request, (row) => row.receivedAt)
    },
  }
}

/** Whether the link counts what it takes in. A link's limits never change. */
const isLimited = ({ maxImages, maxBytes }: Received['link']) => maxImages !== null || maxBytes !== null

/** Takes room for a part from its link, which has a limit; false where none is left. */
async function takeRoom(sql: Sql, { link, size }: Received) {
  const rows = await sql`
    update links set used_images = used_images + 1, used_bytes = used_bytes + ${size}
    where id = ${link.id}
      and (max_images is null or used_images < max_images)
      and (max_bytes is null or used_bytes + ${size} <= max_bytes)
    returning id`
  return rows.length > 0
}

interface KnownImage extends MetadataRow {
  id: string
  status: ServedStatus
}

const knownColumns = ['id', 'status', ...metadataFields]

const imageRow = ({ link, hash, size }: Received, { id, status, metadata, shared = true }: NewImage) => ({
  id,
  region: link.region,
  hash,
  size,
  status,
  shared,
  ...metadataColumns(metadata),
})

/**
 * Records the upload of a new image. Undefined where the content is known, or another upload of it came first: then
 * nothing is recorded.
 */
async function recordNew(sql: Sql, received: Received, image: NewImage): Promise<Recorded | undefined> {
  const [recorded] = await recordAtOnce(sql, received, {
    image: insertedImage(sql, received, image),
    duplicate: false,
    columns: ['id'],
  })
  const { id, status, metadata } = image
  return recorded && { id, status, duplicate: false, metadata: metadataColumns(metadata) }
}

/** Records an upload of the shared image of the hash; undefined where there is none. */
async function recordDuplicate(sql: Sql, received: Received): Promise<Recorded | undefined> {
  const [image] = await recordAtOnce(sql, received, {
    image: lockedImage(sql, received),
    duplicate: true,
    columns: knownColumns,
  })
  if (!image) return undefined
  const { id, status, ...metadata } = image
  return { id, status, duplicate: true, metadata }
}

/**
 * Records an upload in one statement, so that it waits for one answer: the upload and its counts, towards a format and a
 * camera when these are known.
 *
 * @param image a query for the image; without a row nothing is recorded
 * @param columns those of the image to be told
 */
function recordAtOnce(
  sql: Sql,
  { link, name, size }: Received,
  { image, duplicate, columns }: { image: PendingQuery<KnownImage[]>; duplicate: boolean; columns: string[] },
) {
  // The database's clock tells the day.
  return sql<KnownImage[]>`
    with image as (${image}), upload as (
      insert into uploads (link_id, image_id, name, duplicate)
      select ${link.id}::text, id, ${name}::text, ${duplicate}::boolean from image
      returning (received_at at time zone 'UTC')::date::text as day
    ), counted as (
      insert into upload_counts (kind, key, shard, uploads, bytes)
      select line.kind, line.key, ${randomShard()}::smallint, 1, ${size}::bigint
      from image, upload, lateral (values
        ('day', upload.day, true),
        ('link', ${link.id}::text, true),
        ('format', image.format, status not in ('pending', 'corrupt')),
        ('model', coalesce(image.camera_model, ''), status not in ('pending', 'corrupt'))
      ) as line (kind, key, counts)
      where line.counts
      order by line.kind -- the order of all who add to the counts
      ${adding(sql)}
    )
    select ${sql(columns)} from image`
}

/** The new image; nothing where one of the hash is there that it is to be shared with. */
const insertedImage = (sql: Sql, received: Received, image: NewImage) => sql<KnownImage[]>`
  insert into images ${sql(imageRow(received, image))}
  on conflict (region, hash) where removed_at is null and shared do nothing
  returning ${sql(knownColumns)}`

/** The shared image of a hash, locked so that it is neither settled nor removed before this upload of it is counted. */
const lockedImage = (sql: Sql, { link, hash }: Received) => sql<KnownImage[]>`
  select ${sql(knownColumns)} from images
  where region = ${link.region} and hash = ${hash} and removed_at is null and shared for share`
