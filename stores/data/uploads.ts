import { randomShard } from './counts.ts'
import {
  isLimited,
  type MetadataRow,
  type NewImage,
  type PresentStatus,
  type Received,
  type Recorded,
  type RecordedUpload,
  type UploadRow,
  type UploadStore,
} from './data-store.ts'
import { groupCommit } from './group-commit.ts'
import { afterKeyset, toPage } from './keyset.ts'
import { metadataByColumn, toMetadataRow } from './metadata-columns.ts'
import type { Database, Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

export function createUploads(sql: Database): StoreCalls<UploadStore> {
  const recordNewOne = groupCommit((files: NewFile[]) => recordNewFiles(sql, files))
  const recordKnownOne = groupCommit((files: Received[]) => recordKnownFiles(sql, files))

  return {
    record: once(async (received, image): Promise<Recorded> => {
      if (isLimited(received.link)) return recordLimited(sql, received, image)
      return (await recordNewOne({ received, image })) ?? requireKnown(await recordKnownOne(received))
    }),

    recordKnown: once(async (received) =>
      isLimited(received.link) ? recordKnownLimited(sql, received) : recordKnownOne(received),
    ),

    pageOfLink: repeatable(async (linkId, request) => {
      const rows = await sql<UploadRow[]>`
        select uploads.*, images.size, images.status from (
          select * from uploads
          where link_id = ${linkId} and ${afterKeyset(sql, 'received_at', request)}
          order by received_at desc, id desc limit ${request.limit + 1}
        ) as uploads join images on images.id = uploads.image_id
        order by uploads.received_at desc, uploads.id desc`
      return toPage(rows, request, (row) => row.receivedAt)
    }),
  }
}

/** A file whose content is probably new. */
interface NewFile {
  received: Received
  image: NewImage
}

interface KnownImage extends MetadataRow {
  id: string
  status: PresentStatus
}

/**
 * Records uploads of new images in one statement, so that the process waits for one response. Nothing is recorded, and the
 * result is undefined, for a file whose content is known, or for which an equal file in the same statement came first.
 */
async function recordNewFiles(sql: Sql, files: NewFile[]): Promise<(RecordedUpload | undefined)[]> {
  const given = files.map(({ received, image: { id, status, metadata, shared = true } }) => ({
    ...givenFile(received),
    ...metadataByColumn(metadata),
    id,
    status,
    shared,
  }))
  const rows = await sql<{ id: string }[]>`
    with given as (
      select file from jsonb_array_elements(${sql.json(sortedByHash(given))}) as given (file)
    ), image as (
      insert into images (
        id, status, region, hash, size, shared,
        format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
        latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder
      )
      select
        id, status, region, hash, size, shared,
        format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
        latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder
      from given, jsonb_populate_record(null::images, given.file)
      on conflict (region, hash) where removed_at is null and shared do nothing
      returning id, size, status, format, camera_model
    ), recorded as (
      select image.*, file ->> 'link_id' as link_id, file ->> 'name' as name
      from given join image on image.id = file ->> 'id'
    ), upload as (
      insert into uploads (link_id, image_id, name, duplicate)
      select link_id, id, name, false from recorded
    ), counted as (
      insert into upload_counts (kind, key, shard, uploads, bytes)
      select line.kind, line.key, ${randomShard()}::smallint, count(*), sum(size)::bigint
      from recorded, lateral (values
        ('day', (now()::timestamptz(3) at time zone 'UTC')::date::text, true),
        ('link', link_id, true),
        ('format', format, status <> 'pending'),
        ('model', coalesce(camera_model, ''), status <> 'pending')
      ) as line (kind, key, counts)
      where line.counts
      group by line.kind, line.key
      order by line.kind, line.key -- the order of all writers of counts
      on conflict (kind, key, shard) do update set
        uploads = upload_counts.uploads + excluded.uploads,
        bytes = upload_counts.bytes + excluded.bytes
    )
    select id from recorded`
  const recorded = new Set(rows.map(({ id }) => id))
  return files.map(({ image: { id, status, metadata } }) =>
    recorded.has(id) ? { id, status, duplicate: false, metadata: toMetadataRow(metadata) } : undefined,
  )
}

/**
 * Records uploads of known images in one statement. Nothing is recorded, and the result is undefined, for a file whose
 * content is not known. The images are locked, so that none is settled or removed before its upload is counted.
 */
async function recordKnownFiles(sql: Sql, files: Received[]): Promise<(RecordedUpload | undefined)[]> {
  const given = files.map((received, index) => ({ ...givenFile(received), index }))
  // Joined laterally, so that each hash is one index look-up: the planner may scan the table instead.
  const rows = await sql<(KnownImage & { index: number })[]>`
    with given as (
      select file from jsonb_array_elements(${sql.json(sortedByHash(given))}) as given (file)
    ), recorded as (
      select image.*, (file ->> 'index')::integer as index, file ->> 'link_id' as link_id, file ->> 'name' as name
      from given, lateral (
        select
          id, status, size,
          format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
          latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder
        from images
        where region = given.file ->> 'region' and hash = given.file ->> 'hash' and removed_at is null and shared
        limit 1 for share
      ) as image
    ), upload as (
      insert into uploads (link_id, image_id, name, duplicate)
      select link_id, id, name, true from recorded
    ), counted as (
      insert into upload_counts (kind, key, shard, uploads, bytes)
      select line.kind, line.key, ${randomShard()}::smallint, count(*), sum(size)::bigint
      from recorded, lateral (values
        ('day', (now()::timestamptz(3) at time zone 'UTC')::date::text, true),
        ('link', link_id, true),
        ('format', format, status not in ('pending', 'corrupt')),
        ('model', coalesce(camera_model, ''), status not in ('pending', 'corrupt'))
      ) as line (kind, key, counts)
      where line.counts
      group by line.kind, line.key
      order by line.kind, line.key -- the order of all writers of counts
      on conflict (kind, key, shard) do update set
        uploads = upload_counts.uploads + excluded.uploads,
        bytes = upload_counts.bytes + excluded.bytes
    )
    select
      index, id, status,
      format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
      latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder
    from recorded`
  const recorded = new Map(rows.map(({ index, ...image }) => [index, image]))
  return files.map((_, index) => {
    const image = recorded.get(index)
    if (!image) return undefined
    const { id, status, ...metadata } = image
    return { id, status, duplicate: true, metadata }
  })
}

/** The values of a file that both statements need, by the names of their columns. */
const givenFile = ({ link, name, hash, size }: Received) => ({
  link_id: link.id,
  region: link.region,
  name,
  hash,
  size,
})

/** All statements lock images in one order, so that two statements can not wait for each other. */
const sortedByHash = <Given extends { hash: string }>(given: Given[]) =>
  given.toSorted((a, b) => (a.hash < b.hash ? -1 : 1))

/** Records a file by a link with a limit, in a transaction that first takes room from the link. */
function recordLimited(sql: Database, received: Received, image: NewImage): Promise<Recorded> {
  return sql.begin(async (sql) => {
    if (!(await takeRoom(sql, received))) return 'link_used_up'
    const [recorded] = await recordNewFiles(sql, [{ received, image }])
    return recorded ?? requireKnown((await recordKnownFiles(sql, [received]))[0])
  })
}

/** Records a file of known content by a link with a limit; undefined, and no room is taken, if the content is not known. */
function recordKnownLimited(sql: Database, received: Received): Promise<Recorded | undefined> {
  return sql.begin(async (sql) => {
    const { hash, link } = received
    // The same lock as in recordKnownFiles, taken before the link's: recordLimited takes them in the other order, and the
    // database ends such a deadlock with an error that is retried.
    const [image] = await sql`
      select id from images
      where region = ${link.region} and hash = ${hash} and removed_at is null and shared limit 1 for share`
    if (!image) return undefined
    return (await takeRoom(sql, received)) ? (await recordKnownFiles(sql, [received]))[0] : 'link_used_up'
  })
}

/** Takes room for a file from its link, which has a limit. False if not enough is left. */
async function takeRoom(sql: Sql, { link, size }: Received) {
  const rows = await sql`
    update links set used_images = used_images + 1, used_bytes = used_bytes + ${size}
    where id = ${link.id}
      and (max_images is null or used_images < max_images)
      and (max_bytes is null or used_bytes + ${size} <= max_bytes)
    returning id`
  return rows.length > 0
}

/** The known image may be removed between two statements. Then the call is retried, and inserts the image. */
function requireKnown(recorded: RecordedUpload | undefined) {
  if (!recorded) throw Object.assign(new Error('the known image was removed'), { code: '40001' })
  return recorded
}
