import type { UploadAnswer } from '../../schemas/uploads.ts'
import {
  type ResumableKey,
  type ResumableRow,
  type ResumableStore,
  WriterReplaced,
} from './interfaces/resumable-uploads.ts'
import { isRefusal } from './interfaces/uploads.ts'
import type { Database, Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'
import { recordIn, recordKnownIn } from './uploads.ts'

const columns =
  'id, link_id, method, image_id, region, name, sender, message, metadata, digests, length, size, details, writer, ' +
  'started_at, expires_at, finished_at, answer'

export function createResumableUploads(sql: Database): StoreCalls<ResumableStore> {
  return {
    insert: once(async (row, { uploads, bytes, bytesWithoutLength, milliseconds }) =>
      sql.begin(async (sql) => {
        // The link's row is locked, so that no other insert counts at the same time.
        await sql`select id from links where id = ${row.linkId} for update`
        const [unfinished] = await sql<{ uploads: number; bytes: number }[]>`
          select count(*) as uploads, coalesce(sum(coalesce(length, ${bytesWithoutLength}::bigint)), 0)::bigint as bytes
          from resumable_uploads where link_id = ${row.linkId} and finished_at is null`
        if (unfinished!.uploads >= uploads) return 'too_many_uploads'
        if (unfinished!.bytes + (row.length ?? bytesWithoutLength) > bytes) return 'too_many_bytes'
        const [inserted] = await sql<ResumableRow[]>`
          insert into resumable_uploads (
            id, link_id, method, image_id, region, name, sender, message, metadata, digests, length, writer, expires_at
          ) values (
            ${row.id}, ${row.linkId}, ${row.method}, ${row.imageId}, ${row.region}, ${row.name}, ${row.sender},
            ${row.message}, ${row.metadata}, ${sql.json(row.digests)}, ${row.length}, ${row.writer},
            now() + ${milliseconds}::float8 * interval '1 millisecond'
          ) returning ${sql.unsafe(columns)}`
        return inserted!
      }),
    ),

    find: repeatable(async (id) => {
      const [row] = await sql<ResumableRow[]>`
        select ${sql.unsafe(columns)} from resumable_uploads where id = ${id} and expires_at > now()`
      return row
    }),

    take: repeatable(async (id, writer) => {
      const [row] = await sql<(ResumableRow & { isCompleting: boolean })[]>`
        with before as (
          select ${sql.unsafe(columns)}, coalesce(completing_until > now(), false) as is_completing
          from resumable_uploads where id = ${id} and expires_at > now() for update
        ), taken as (
          update resumable_uploads set writer = ${writer} from before
          where resumable_uploads.id = before.id and before.finished_at is null and not before.is_completing
          returning resumable_uploads.id
        )
        select * from before`
      return row?.isCompleting && !row.finishedAt ? 'completing' : row
    }),

    save: repeatable(async ({ id, writer }, { size, details, length }, { isLast = false } = {}) => {
      const rows = await sql`
        update resumable_uploads set size = ${size}, details = ${sql.json(details as never)}, length = ${length},
          writer = case when ${isLast} then null else writer end
        where id = ${id} and writer = ${writer} and finished_at is null and size <= ${size} returning id`
      if (rows.length === 0) throw new WriterReplaced()
    }),

    completing: repeatable(async ({ id, writer }, milliseconds) => {
      const rows = await sql`
        update resumable_uploads
        set completing_until = now() + ${milliseconds}::float8 * interval '1 millisecond'
        where id = ${id} and writer = ${writer} and finished_at is null returning id`
      if (rows.length === 0) throw new WriterReplaced()
    }),

    release: repeatable(async ({ id, writer }) => {
      await sql`update resumable_uploads set writer = null, completing_until = null where id = ${id} and writer = ${writer}`
    }),

    recordNew: once(async (key, received, image, answerOf) =>
      sql.begin(async (sql) => {
        const recorded = await recordIn(sql, received, image)
        if (!isRefusal(recorded)) await finish(sql, key, answerOf(recorded))
        return recorded
      }),
    ),

    recordKnown: once(async (key, received, answerOf) =>
      sql.begin(async (sql) => {
        const recorded = await recordKnownIn(sql, received)
        if (recorded && !isRefusal(recorded)) await finish(sql, key, answerOf(recorded))
        return recorded
      }),
    ),

    reject: repeatable((key, answer) => finish(sql, key, answer)),

    remove: repeatable(async (id) => {
      await sql`delete from resumable_uploads where id = ${id}`
    }),

    countUnfinished: repeatable(async () => {
      const [row] = await sql<{ uploads: number }[]>`
        select count(*) as uploads from resumable_uploads where finished_at is null and expires_at > now()`
      return row!.uploads
    }),

    unfinished: repeatable(async (imageIds) => {
      const rows = await sql<{ imageId: string }[]>`
        select image_id from resumable_uploads where image_id = any(${imageIds}) and finished_at is null`
      return new Set(rows.map(({ imageId }) => imageId))
    }),

    countExpired: repeatable(async () => {
      const [expired] = await sql<{ count: number }[]>`
        select count(*)::int as count from resumable_uploads where expires_at <= now() and finished_at is null`
      return expired!.count
    }),

    takeExpired: once(async (writer, limit) => {
      const rows = await sql<ResumableRow[]>`
        update resumable_uploads set writer = ${writer}
        where id in (select id from resumable_uploads where expires_at <= now() order by expires_at limit ${limit})
        returning ${sql.unsafe(columns)}`
      return rows
    }),
  }
}

/** Ends an upload with the response to it. @throws {WriterReplaced} nothing is recorded then */
async function finish(sql: Sql, { id, writer }: ResumableKey, answer: UploadAnswer) {
  const rows = await sql`
    update resumable_uploads set finished_at = now(), answer = ${sql.json(answer as never)}, writer = null, details = null
    where id = ${id} and writer = ${writer} and finished_at is null returning id`
  if (rows.length === 0) throw new WriterReplaced()
}
