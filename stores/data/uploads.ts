import type { ImageStatus, Metadata } from '../../schemas/images.ts'
import { count } from './counts.ts'
import { analysedKeys, type ImageRow, metadataColumns } from './images.ts'
import { beyond, type PageRequest, toPage } from './keyset.ts'
import type { LinkRow } from './links.ts'
import type { Database, Sql } from './sql.ts'
import { transaction } from './transaction.ts'

/** A part that was received whole: its object is in the object store under `id`. */
export interface Received {
  /** The id that the image gets where its content is new. */
  id: string
  link: Pick<LinkRow, 'id' | 'maxImages' | 'maxBytes'>
  name: string | null
  hash: string
  size: number
  /** What is known of it: all (ready), or only its format and media type (pending). */
  status: 'ready' | 'pending'
  metadata: Metadata
}

/** What became of it: the image that it is now an upload of, or that the link had no room for it. */
export type Recorded = { id: string; status: ImageStatus; duplicate: boolean } | 'link_used_up'

export interface UploadRow {
  id: string
  imageId: string
  name: string | null
  size: number
  duplicate: boolean
  status: ImageStatus
  receivedAt: Date
}

export function createUploads(sql: Database) {
  return {
    /**
     * Records a part as an upload, in one transaction: of a new image, or of the image with the same hash where there
     * is one. The unique index on the hash decides between two that race.
     */
    record(received: Received): Promise<Recorded> {
      const { link, name, hash, size, metadata } = received
      return transaction(sql, async (sql) => {
        if ((link.maxImages !== null || link.maxBytes !== null) && !(await use(sql, link.id, size))) {
          return 'link_used_up'
        }
        const image = (await insertImage(sql, received)) ?? (await lockImage(sql, hash))
        // The known image was removed between the two statements: a transaction that runs again sees it gone.
        if (!image) throw Object.assign(new Error('the known image has gone'), { code: '40001' })
        const duplicate = image.id !== received.id
        const [upload] = await sql<{ day: string }[]>`
          insert into uploads (link_id, image_id, name, duplicate)
          values (${link.id}, ${image.id}, ${name}, ${duplicate})
          returning (received_at at time zone 'UTC')::date::text as day`
        const known = duplicate
          ? image
          : { format: metadata.format, cameraModel: metadata.cameraModel ?? null }
        await count(
          sql,
          [
            { kind: 'day' as const, key: upload!.day },
            { kind: 'link' as const, key: link.id },
            ...(image.status === 'pending' ? [] : analysedKeys(known)),
          ].map((line) => ({ ...line, uploads: 1, bytes: size })),
        )
        return { id: image.id, status: image.status, duplicate }
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

/** Takes room for a part from a link with a limit; false where there is none left. */
async function use(sql: Sql, linkId: string, size: number) {
  const rows = await sql`
    update links set used_images = used_images + 1, used_bytes = used_bytes + ${size}
    where id = ${linkId}
      and (max_images is null or used_images < max_images)
      and (max_bytes is null or used_bytes + ${size} <= max_bytes)
    returning id`
  return rows.length > 0
}

type KnownImage = Pick<ImageRow, 'id' | 'status' | 'format' | 'cameraModel'>

async function insertImage(sql: Sql, { id, hash, size, status, metadata }: Received) {
  const row = {
    id,
    hash,
    size,
    status,
    format: metadata.format,
    mediaType: metadata.mediaType,
    ...metadataColumns(metadata),
    dueAt: status === 'pending' ? new Date() : null,
  }
  const [image] = await sql<KnownImage[]>`
    insert into images ${sql(row)}
    on conflict (hash) where removed_at is null do nothing
    returning id, status, format, camera_model`
  return image
}

/** The image of a hash, locked so that it is neither settled nor removed before this upload of it is counted. */
async function lockImage(sql: Sql, hash: string) {
  const [image] = await sql<KnownImage[]>`
    select id, status, format, camera_model from images
    where hash = ${hash} and removed_at is null for share`
  return image
}
