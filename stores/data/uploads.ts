import type { ImageStatus, Metadata } from '../../schemas/images.ts'
import { type CountKey, count } from './counts.ts'
import { analysedKeys, type MetadataRow, metadataColumns, metadataFields } from './images.ts'
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
     * Records a part as an upload, in one transaction: of a new image, or of the image of the link's region with the
     * same hash where there is one. The unique index on both decides between two that race.
     */
    record(received: Received, image: NewImage): Promise<Recorded> {
      return sql.begin(async (sql) => {
        if (!(await takeRoom(sql, received))) return 'link_used_up'
        const inserted = await insertImage(sql, received, image)
        const known = inserted ?? (await lockImage(sql, received))
        // The known image was removed between the two statements: a transaction that runs again sees it gone.
        if (!known) throw Object.assign(new Error('the known image has gone'), { code: '40001' })
        return insertUpload(sql, received, { image: known, duplicate: !inserted })
      })
    },

    /** Records a part as an upload of the image of the link's region with the same hash; undefined where there is none. */
    recordKnown(received: Received): Promise<Recorded | undefined> {
      return sql.begin(async (sql) => {
        const image = await lockImage(sql, received)
        if (!image) return undefined
        if (!(await takeRoom(sql, received))) return 'link_used_up'
        return insertUpload(sql, received, { image, duplicate: true })
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

/** Takes room for a part from its link; false where none is left. A link without a limit has room for ever. */
async function takeRoom(sql: Sql, { link, size }: Received) {
  if (link.maxImages === null && link.maxBytes === null) return true
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

async function insertImage(sql: Sql, { link, hash, size }: Received, { id, status, metadata }: NewImage) {
  const row = { id, region: link.region, hash, size, status, ...metadataColumns(metadata) }
  const [image] = await sql<KnownImage[]>`
    insert into images ${sql(row)}
    on conflict (region, hash) where removed_at is null do nothing
    returning ${sql(knownColumns)}`
  return image
}

/** The image of a hash, locked so that it is neither settled nor removed before this upload of it is counted. */
async function lockImage(sql: Sql, { link, hash }: Received) {
  const [image] = await sql<KnownImage[]>`
    select ${sql(knownColumns)} from images
    where region = ${link.region} and hash = ${hash} and removed_at is null for share`
  return image
}

/** Adds the upload, and counts it. Towards a format and a camera it counts when these are known. */
async function insertUpload(
  sql: Sql,
  { link, name, size }: Received,
  { image, duplicate }: { image: KnownImage; duplicate: boolean },
) {
  const [upload] = await sql<{ day: string }[]>`
    insert into uploads (link_id, image_id, name, duplicate)
    values (${link.id}, ${image.id}, ${name}, ${duplicate})
    returning (received_at at time zone 'UTC')::date::text as day`
  const keys: CountKey[] = [
    { kind: 'day', key: upload!.day },
    { kind: 'link', key: link.id },
    ...(image.status === 'pending' || image.status === 'corrupt' ? [] : analysedKeys(image)),
  ]
  await count(
    sql,
    keys.map((key) => ({ ...key, uploads: 1, bytes: size })),
  )
  const { id, status, ...metadata } = image
  return { id, status, duplicate, metadata }
}
