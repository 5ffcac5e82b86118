import type { Fragment } from 'postgres'
import type { ImageStatus, Metadata } from '../../schemas/images.ts'
import { adding, randomShard } from './counts.ts'
import { groupCommit } from './group-commit.ts'
import { type MetadataRow, metadataByColumn, metadataColumns, metadataFields } from './images.ts'
import { beyond, type PageRequest, toPage } from './keyset.ts'
import type { LinkRow } from './links.ts'
import { columnList, type Database, type Sql } from './sql.ts'

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
  const recordNewOne = groupCommit((parts: NewPart[]) => recordNewParts(sql, parts))
  const recordKnownOne = groupCommit((parts: Received[]) => recordKnownParts(sql, parts))

  return {
    /**
     * Records a part as an upload: of a new image, or where that is to be shared, of the shared one of the link's region
     * with the same hash where there is one. The unique index decides between two that race.
     */
    async record(received: Received, image: NewImage): Promise<Recorded> {
      const part = { received, image }
      if (!isLimited(received.link)) {
        return (await recordNewOne(part)) ?? stillKnown(await recordKnownOne(received))
      }
      return sql.begin(async (sql) => {
        if (!(await takeRoom(sql, received))) return 'link_used_up'
        const [recorded] = await recordNewParts(sql, [part])
        return recorded ?? stillKnown((await recordKnownParts(sql, [received]))[0])
      })
    },

    /** Records a part as an upload of the shared image of the link's region with the same hash; undefined where there is none. */
    async recordKnown(received: Received): Promise<Recorded | undefined> {
      if (!isLimited(received.link)) return recordKnownOne(received)
      return sql.begin(async (sql) => {
        const { hash, link } = received
        const [image] = await lockedImage(sql, { region: link.region, hash })
        if (!image) return undefined
        return (await takeRoom(sql, received)) ? (await recordKnownParts(sql, [received]))[0] : 'link_used_up'
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

const knownFields = ['id', 'status', ...metadataFields]
const knownColumns = columnList(knownFields)
const newColumns = columnList([...knownFields, 'region', 'hash', 'size', 'shared'])

/** A part whose content is taken for new. */
interface NewPart {
  received: Received
  image: NewImage
}

/**
 * Records the uploads of new images. Of one whose content is known, or of which another upload came first, nothing is
 * recorded, and the answer is undefined.
 */
async function recordNewParts(sql: Sql, parts: NewPart[]): Promise<(RecordedUpload | undefined)[]> {
  const given = parts.map(({ received, image: { id, status, metadata, shared = true } }) => ({
    ...givenPart(received),
    ...metadataByColumn(metadata),
    id,
    status,
    shared,
  }))
  const source = sql`image as (
      insert into images (${sql.unsafe(newColumns)})
      select ${sql.unsafe(newColumns)} from given, jsonb_populate_record(null::images, given.part)
      on conflict (region, hash) where removed_at is null and shared do nothing
      returning id, size, status, format, camera_model
    ), recorded as (
      select image.*, given.part from given join image on image.id = given.part ->> 'id'
    )`
  const rows = await recordAtOnce<{ id: string }>(sql, given, { source, duplicate: false, columns: 'id' })
  const recorded = new Set(rows.map(({ id }) => id))
  return parts.map(({ image: { id, status, metadata } }) =>
    recorded.has(id) ? { id, status, duplicate: false, metadata: metadataColumns(metadata) } : undefined,
  )
}

/** Records uploads of the shared images of their hashes; undefined where there is none. */
async function recordKnownParts(sql: Sql, parts: Received[]): Promise<(RecordedUpload | undefined)[]> {
  const given = parts.map((received, index) => ({ ...givenPart(received), index }))
  // Joined laterally, for a look into the index for each: the planner may make a scan of the table of it.
  const source = sql`recorded as (
      select image.*, given.part from given, lateral (
        ${lockedImage(sql, { region: sql`given.part ->> 'region'`, hash: sql`given.part ->> 'hash'` })}
      ) as image
    )`
  const columns = `${knownColumns}, (part ->> 'index')::integer as index`
  const rows = await recordAtOnce<KnownImage & { index: number }>(sql, given, {
    source,
    duplicate: true,
    columns,
  })
  const recorded = new Map(rows.map(({ index, ...image }) => [index, image]))
  return parts.map((_, index) => {
    const image = recorded.get(index)
    if (!image) return undefined
    const { id, status, ...metadata } = image
    return { id, status, duplicate: true, metadata }
  })
}

/** A part as the database is given it: the upload's columns, and those of its image. */
const givenPart = ({ link, name, hash, size }: Received) => ({
  link_id: link.id,
  region: link.region,
  name,
  hash,
  size,
})

/**
 * Records uploads in one statement, so that it waits for one answer: the uploads and their counts, towards a format and a
 * camera when these are known.
 *
 * @param given what `source` has as `given`, each as `part`, in the order of their hashes: so two statements can't wait for
 *   each other
 * @param source of `recorded`: the image of each upload, and the `part` that it was given as
 * @param columns those of `recorded` to be told
 */
function recordAtOnce<Row extends object>(
  sql: Sql,
  given: ReturnType<typeof givenPart>[],
  { source, duplicate, columns }: { source: Fragment; duplicate: boolean; columns: string },
) {
  const sorted = given.toSorted((a, b) => (a.hash < b.hash ? -1 : 1))
  // The database's clock tells the day.
  return sql<Row[]>`
    with given as (
      select part from jsonb_array_elements(${sql.json(sorted)}) as given (part)
    ), ${source}, upload as (
      insert into uploads (link_id, image_id, name, duplicate)
      select part ->> 'link_id', id, part ->> 'name', ${duplicate}::boolean from recorded
    ), counted as (
      insert into upload_counts (kind, key, shard, uploads, bytes)
      select line.kind, line.key, ${randomShard()}::smallint, count(*), sum(size)::bigint
      from recorded, lateral (values
        ('day', (now()::timestamptz(3) at time zone 'UTC')::date::text, true),
        ('link', part ->> 'link_id', true),
        ('format', format, status not in ('pending', 'corrupt')),
        ('model', coalesce(camera_model, ''), status not in ('pending', 'corrupt'))
      ) as line (kind, key, counts)
      where line.counts
      group by line.kind, line.key
      order by line.kind, line.key -- the order of all who add to the counts
      ${adding(sql)}
    )
    select ${sql.unsafe(columns)} from recorded`
}

/** The shared image of a hash, locked so that it is neither settled nor removed before this upload of it is counted. */
const lockedImage = (sql: Sql, { region, hash }: Record<'region' | 'hash', string | Fragment>) =>
  sql<KnownImage[]>`
    select ${sql.unsafe(knownColumns)}, size from images
    where region = ${region} and hash = ${hash} and removed_at is null and shared limit 1 for share`

/** The known image may be removed between two statements: what runs again sees it gone. */
function stillKnown(recorded: RecordedUpload | undefined) {
  if (!recorded) throw Object.assign(new Error('the known image has gone'), { code: '40001' })
  return recorded
}
