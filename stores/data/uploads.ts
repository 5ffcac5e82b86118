import { randomShard } from './counts.ts'
import { groupCommit } from './group-commit.ts'
import type { MetadataRow } from './interfaces/images.ts'
import { isLimited } from './interfaces/links.ts'
import type {
  ImageUploadRow,
  NewImage,
  PresentStatus,
  Received,
  Recorded,
  Refusal,
  UploadRow,
  UploadStore,
} from './interfaces/uploads.ts'
import { afterKeyset, toPage } from './keyset.ts'
import { metadataByColumn, toMetadataRow } from './metadata-columns.ts'
import { toSearchName } from './search-name.ts'
import type { Database, Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

export function createUploads(sql: Database): StoreCalls<UploadStore> {
  const recordNewOne = groupCommit((files: NewFile[]) => recordNewFiles(sql, files))
  const recordKnownOne = groupCommit((files: Received[]) => recordKnownFiles(sql, files))

  return {
    record: once(async (received, image): Promise<Recorded> => {
      if (isLimited(received.link)) return sql.begin((sql) => recordIn(sql, received, image))
      const recorded =
        (await recordNewOne({ received, image })) ?? requireKnown(await recordKnownOne(received))
      if (recorded !== NEW_LIMIT) return recorded
      return sql.begin((sql) => recordIn(sql, withLimit(received), image))
    }),

    recordKnown: once(async (received) => {
      if (isLimited(received.link)) return sql.begin((sql) => recordKnownIn(sql, received))
      const recorded = await recordKnownOne(received)
      return recorded === NEW_LIMIT ? sql.begin((sql) => recordKnownIn(sql, withLimit(received))) : recorded
    }),

    nameOf: repeatable(async (imageId) => {
      const [row] = await sql<{ name: string }[]>`
        select name from uploads where image_id = ${imageId} and name <> '' order by received_at, id limit 1`
      return row?.name
    }),

    namesOf: repeatable(async (imageIds, linkId) => {
      const rows = await sql<{ imageId: string; name: string }[]>`
        select distinct on (image_id) image_id, name from uploads
        where image_id = any(${imageIds}) and name <> '' ${linkId === undefined ? sql`` : sql`and link_id = ${linkId}`}
        order by image_id, received_at, id`
      return new Map(rows.map(({ imageId, name }) => [imageId, name]))
    }),

    ofImage: repeatable(
      (imageId, limit) => sql<ImageUploadRow[]>`
        select uploads.name, uploads.sender, uploads.message, uploads.duplicate, uploads.received_at, uploads.link_id, links.label
        from uploads left join links on links.id = uploads.link_id
        where uploads.image_id = ${imageId}
        order by uploads.received_at desc, uploads.id desc limit ${limit}`,
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
 * The outcome of a file that began before its link got its first limit. Nothing is recorded, because the file must be counted in
 * the link.
 */
const NEW_LIMIT = 'new_limit'

type Outcome = Recorded | typeof NEW_LIMIT | undefined

/** A file of a link that has got a limit. The statement that counts the file reads the limit itself. */
const withLimit = (received: Received): Received => ({
  ...received,
  link: { ...received.link, maxImages: Number.MAX_SAFE_INTEGER },
})

/**
 * Records uploads of new images in one statement, so that the process waits for one response. Nothing is recorded, and the
 * result is undefined, for a file whose content is known, or for which an equal file in the same statement came first.
 *
 * The link's row is read and not locked: PostgreSQL keeps a list of all lockers of a row, which costs more than the
 * insert. So a statement that began before a revoke, or before the first limit, may end a moment after it.
 */
async function recordNewFiles(sql: Sql, files: NewFile[]): Promise<Outcome[]> {
  const given = files.map(({ received, image: { id, status, metadata, shared = true, trace } }) => ({
    ...givenFile(received),
    ...metadataByColumn(metadata),
    id,
    status,
    shared,
    ...(trace !== undefined && { trace }),
  }))
  const rows = await sql<{ id: string; refusal: Refusal | typeof NEW_LIMIT | null }[]>`
    with given as (
      select
        file,
        case
          when link.revoked_at is not null then 'link_revoked'
          when link.expires_at <= (file ->> 'started_at')::timestamptz then 'link_expired'
          when (link.max_images is not null or link.max_bytes is not null) and file -> 'is_counted' is null then 'new_limit'
        end as refusal
      from jsonb_array_elements(${sql.json(sortedByHash(given))}) as given (file), lateral (
        select revoked_at, expires_at, max_images, max_bytes from links where id = given.file ->> 'link_id' limit 1
      ) as link
    ), image as (
      insert into images (
        id, status, region, hash, size, shared, private, strip_metadata, trace,
        format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
        latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder,
        damaged, damage, present_share
      )
      select
        id, status, region, hash, size, shared, private, strip_metadata, trace,
        format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
        latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder,
        damaged, damage, present_share
      from given, jsonb_populate_record(null::images, given.file)
      where given.refusal is null
      on conflict (region, hash, private, strip_metadata) where removed_at is null and shared do nothing
      returning id, size, status, region, format, camera_model
    ), recorded as (
      select image.*, file ->> 'link_id' as link_id, file ->> 'name' as name,
        file ->> 'search_name' as search_name, file ->> 'sender' as sender, file ->> 'message' as message
      from given join image on image.id = file ->> 'id'
    ), upload as (
      insert into uploads (link_id, image_id, name, search_name, duplicate, sender, message)
      select link_id, id, name, search_name, false, sender, message from recorded
    ), counted as (
      insert into upload_counts (kind, key, shard, uploads, bytes)
      select line.kind, line.key, ${randomShard()}::smallint, count(*), sum(size)::bigint
      from recorded, lateral (values
        ('day', (now()::timestamptz(3) at time zone 'UTC')::date::text, true),
        ('link', link_id, true),
        ('format', format, status <> 'pending'),
        ('location', 'hot ' || region, true),
        ('model', coalesce(camera_model, ''), status <> 'pending')
      ) as line (kind, key, counts)
      where line.counts
      group by line.kind, line.key
      order by line.kind, line.key -- the order of all writers of counts
      on conflict (kind, key, shard) do update set
        uploads = upload_counts.uploads + excluded.uploads,
        bytes = upload_counts.bytes + excluded.bytes
    )
    select given.file ->> 'id' as id, given.refusal
    from given left join recorded on recorded.id = given.file ->> 'id'
    where recorded.id is not null or given.refusal is not null`
  const outcomes = new Map(rows.map(({ id, refusal }) => [id, refusal]))
  return files.map(({ image: { id, status, metadata } }) => {
    if (!outcomes.has(id)) return undefined
    return outcomes.get(id) ?? { id, status, duplicate: false, metadata: toMetadataRow(metadata) }
  })
}

/**
 * Records uploads of known images in one statement. Nothing is recorded, and the result is undefined, for a file whose
 * content is not known. The images are locked, so that none is settled or removed before its upload is counted.
 */
async function recordKnownFiles(sql: Sql, files: Received[]): Promise<Outcome[]> {
  const given = files.map((received, index) => ({ ...givenFile(received), index }))
  // Joined laterally, so that each hash is one index look-up: the planner may scan the table instead.
  const rows = await sql<(KnownImage & { index: number; refusal: Refusal | null })[]>`
    with given as (
      select
        file,
        case
          when link.revoked_at is not null then 'link_revoked'
          when link.expires_at <= (file ->> 'started_at')::timestamptz then 'link_expired'
          when (link.max_images is not null or link.max_bytes is not null) and file -> 'is_counted' is null then 'new_limit'
        end as refusal
      from jsonb_array_elements(${sql.json(sortedByHash(given))}) as given (file), lateral (
        select revoked_at, expires_at, max_images, max_bytes from links where id = given.file ->> 'link_id' limit 1
      ) as link
    ), recorded as (
      select image.*, (file ->> 'index')::integer as index, file ->> 'link_id' as link_id, file ->> 'name' as name,
        file ->> 'search_name' as search_name, file ->> 'sender' as sender, file ->> 'message' as message
      from given, lateral (
        select
          id, status, size,
          format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
          latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder,
          damaged, damage, present_share
        from images
        where region = given.file ->> 'region' and hash = given.file ->> 'hash'
          and private = (given.file ->> 'private')::boolean
          and strip_metadata = (given.file ->> 'strip_metadata')::boolean
          and removed_at is null and shared
        limit 1 for share
      ) as image
      where given.refusal is null
    ), upload as (
      insert into uploads (link_id, image_id, name, search_name, duplicate, sender, message)
      select link_id, id, name, search_name, true, sender, message from recorded
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
      (given.file ->> 'index')::integer as index, given.refusal, id, status,
      format, media_type, width, height, orientation, camera_make, camera_model, lens, taken_at, taken_offset,
      latitude, longitude, altitude, frames, duration, bit_depth, colour_space, has_alpha, placeholder,
      damaged, damage, present_share
    from given left join recorded on recorded.index = (given.file ->> 'index')::integer
    where recorded.index is not null or given.refusal is not null`
  const outcomes = new Map(rows.map(({ index, ...row }) => [index, row]))
  return files.map((_, index) => {
    const outcome = outcomes.get(index)
    if (!outcome) return undefined
    const { refusal, id, status, ...metadata } = outcome
    return refusal ?? { id, status, duplicate: true, metadata }
  })
}

/** The values of a file for both statements, by the names of their columns. */
const givenFile = ({ link, startedAt, name, hash, size, sender, message }: Received) => ({
  link_id: link.id,
  started_at: startedAt.toISOString(),
  region: link.region,
  private: link.private ?? false,
  strip_metadata: link.stripMetadata ?? false,
  name,
  search_name: toSearchName(name),
  hash,
  size,
  // Without a value they are not sent.
  ...(sender && { sender }),
  ...(message && { message }),
  ...(isLimited(link) && { is_counted: true }),
})

/** All statements lock images in one order, so that two statements can not wait for each other. */
const sortedByHash = <Given extends { hash: string }>(given: Given[]) =>
  given.toSorted((a, b) => (a.hash < b.hash ? -1 : 1))

/** Records a file in a transaction. If its link has a limit, the file is first counted in the link. */
export async function recordIn(sql: Sql, received: Received, image: NewImage): Promise<Recorded> {
  const refusal = await takeRoom(sql, received)
  if (refusal) return refusal
  const [recorded] = await recordNewFiles(sql, [{ received, image }])
  const outcome = recorded ?? requireKnown((await recordKnownFiles(sql, [received]))[0])
  return outcome === NEW_LIMIT ? recordIn(sql, withLimit(received), image) : outcome
}

/** Records a file of known content in a transaction; undefined if the content is not known; then nothing is counted. */
export async function recordKnownIn(sql: Sql, received: Received): Promise<Recorded | undefined> {
  const { hash, link } = received
  // This takes the image's lock before the link's, and `recordIn` in the other order. The database ends such a deadlock
  // with an error that is retried.
  const [image] = await sql`
    select id from images
    where region = ${link.region} and hash = ${hash} and private = ${link.private ?? false}
      and strip_metadata = ${link.stripMetadata ?? false} and removed_at is null and shared limit 1 for share`
  if (!image) return undefined
  const outcome = (await takeRoom(sql, received)) ?? (await recordKnownFiles(sql, [received]))[0]
  return outcome === NEW_LIMIT ? recordKnownIn(sql, withLimit(received)) : outcome
}

/** Counts a file in its link, if the link has a limit. Resolves with the reason if the link does not accept it. */
async function takeRoom(sql: Sql, { link, startedAt, size }: Received): Promise<Refusal | undefined> {
  if (!isLimited(link)) return undefined
  const taken = await sql`
    update links set used_images = used_images + 1, used_bytes = used_bytes + ${size}
    where id = ${link.id} and revoked_at is null and expires_at > ${startedAt}
      and (max_images is null or used_images < max_images)
      and (max_bytes is null or used_bytes + ${size} <= max_bytes)
    returning id`
  if (taken.length > 0) return undefined
  const [row] = await sql<{ refusal: Refusal }[]>`
    select case
      when revoked_at is not null then 'link_revoked'
      when expires_at <= ${startedAt} then 'link_expired'
      else 'link_used_up'
    end as refusal
    from links where id = ${link.id}`
  return row?.refusal ?? 'link_revoked'
}

/** The known image may be removed between two statements. Then the call is retried, and inserts the image. */
function requireKnown(recorded: Outcome) {
  if (!recorded) throw Object.assign(new Error('the known image was removed'), { code: '40001' })
  return recorded
}
