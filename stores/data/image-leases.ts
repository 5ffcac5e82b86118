import type { ImageStatus } from '../../schemas/images.ts'
import type { StorageLocation } from '../storage-location.ts'
import { type CountedImage, isCounted, keysOfAnalysed, moveCounts, subtractCounts } from './image-counts.ts'
import type { ImageLeaseStore, Lease, LeaseKey, RequeueRequest, Verdict } from './interfaces/image-leases.ts'
import { toMetadataRow } from './metadata-columns.ts'
import { markRemoved } from './removal.ts'
import type { Database } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

export function createImageLeases(sql: Database): StoreCalls<ImageLeaseStore> {
  return {
    lease: once(async ({ token, limit, milliseconds, notLike = [] }) => {
      // Materialized: otherwise a plan may run the subquery once for each row of the table, and lock other rows each time.
      const rows = await sql<LeasedRow[]>`
        with due as materialized (
          select id from images
          where due_at <= now() ${notLike.length > 0 ? ofOtherLinks(sql, notLike) : sql``}
          order by due_at limit ${limit}
          for update skip locked
        )
        update images set
          lease = ${token},
          due_at = now() + ${milliseconds}::float8 * interval '1 millisecond'
        from due where images.id = due.id
        returning images.id, status, region, tier, format, media_type, attempts, delays, trace`
      return rows.map((row) => toLease(row, token))
    }),

    leaseOne: once(async ({ imageId, token, milliseconds }) => {
      const [row] = await sql<LeasedRow[]>`
        update images set
          lease = ${token},
          due_at = now() + ${milliseconds}::float8 * interval '1 millisecond'
        where id = ${imageId} and due_at <= now()
        returning id, status, region, tier, format, media_type, attempts, delays, trace`
      return row && toLease(row, token)
    }),

    dueIn: repeatable(async (imageId) => {
      const [row] = await sql<{ milliseconds: number }[]>`
        select (extract(epoch from due_at - now()) * 1000)::double precision as milliseconds
        from images where id = ${imageId} and due_at is not null`
      return row?.milliseconds
    }),

    overdue: repeatable(async ({ milliseconds, limit }) => {
      const rows = await sql<{ id: string }[]>`
        select id from images
        where due_at <= now() - ${milliseconds}::float8 * interval '1 millisecond'
        order by due_at limit ${limit}`
      return rows.map(({ id }) => id)
    }),

    extend: repeatable(async ({ imageId, token }, { milliseconds }) => {
      const rows = await sql`
        update images set due_at = now() + ${milliseconds}::float8 * interval '1 millisecond'
        where id = ${imageId} and lease = ${token} returning id`
      return rows.length > 0
    }),

    // The token is cleared, so that a second run changes nothing.
    release: repeatable(async ({ imageId, token }, { milliseconds, failure, counts }) => {
      await sql`
        update images set
          lease = null, due_at = now() + ${milliseconds}::float8 * interval '1 millisecond',
          attempts = least(attempts + ${counts === 'attempt' ? 1 : 0}, 32767),
          delays = case when ${counts === 'attempt'} then 0 else least(delays + ${counts === 'delay' ? 1 : 0}, 32767) end,
          failure = ${failure ?? null}
        where id = ${imageId} and lease = ${token}`
    }),

    requeue: repeatable(({ ids, status, limit }) => requeue(sql, { ids, status, limit })),

    // The token is cleared, so that a second run changes nothing.
    settle: repeatable((lease, verdict) => settle(sql, lease, verdict)),

    waiting: repeatable(async () => {
      const [row] = await sql<{ images: number }[]>`
        select count(*) as images from images where due_at is not null`
      return row!.images
    }),

    oldestWaitingAge: repeatable(async () => {
      // An image that is analysed again has waited since it was due.
      const [row] = await sql<{ milliseconds: number | null }[]>`
        select (extract(epoch from now() - min(case when settled_at is null then received_at else due_at end)) * 1000)
          ::double precision as milliseconds
        from images where due_at is not null`
      return Math.max(0, row!.milliseconds ?? 0)
    }),
  }
}

const ofOtherLinks = (sql: Database, imageIds: string[]) => sql`
  and not exists (
    select 1 from uploads as own join uploads as other on other.link_id = own.link_id
    where own.image_id = images.id and other.image_id = any(${imageIds}::text[])
  )`

function settle(sql: Database, { imageId, token }: LeaseKey, verdict: Verdict): Promise<boolean> {
  return sql.begin(async (sql) => {
    const [before] = await sql<(CountedImage & { status: ImageStatus })[]>`
      select id, status, format, camera_model, size from images
      where id = ${imageId} and lease = ${token} for update`
    if (!before) return false
    const from = isCounted(before.status) ? keysOfAnalysed(before) : []
    if (verdict.status === 'rejected') {
      await sql`update images set settled_at = now(), failure = ${verdict.failure} where id = ${imageId}`
      await markRemoved(sql, [imageId], 'rejected')
      await subtractCounts(sql, before, from)
      return true
    }
    const settled = {
      status: verdict.status,
      failure: verdict.status === 'ready' ? null : verdict.failure,
      dueAt: null,
      lease: null,
      ...(verdict.metadata && toMetadataRow(verdict.metadata)),
    }
    const [after] = await sql<CountedImage[]>`
      update images set ${sql(settled)}, settled_at = now() where id = ${imageId}
      returning id, format, camera_model, size`
    await moveCounts(sql, before, { from, to: isCounted(verdict.status) ? keysOfAnalysed(after!) : [] })
    return true
  })
}

/** Only settled images that are not removed: a pending image waits already. */
async function requeue(sql: Database, { ids, status, limit }: RequeueRequest) {
  const rows = await sql<{ id: string }[]>`
    with chosen as materialized (
      select id from images
      where removed_at is null and due_at is null and status in ('ready', 'failed', 'corrupt')
        ${ids ? sql`and id = any(${ids})` : sql``} ${status ? sql`and status = ${status}` : sql``}
      order by received_at limit ${limit}
      for update skip locked
    )
    update images set due_at = now(), attempts = 0, delays = 0
    from chosen where images.id = chosen.id returning images.id`
  return rows.map(({ id }) => id)
}

interface LeasedRow extends StorageLocation {
  id: string
  status: ImageStatus
  format: string
  mediaType: string
  attempts: number
  delays: number
  trace: string | null
}

const toLease = (row: LeasedRow, token: string): Lease => ({
  imageId: row.id,
  token,
  pending: row.status === 'pending',
  region: row.region,
  tier: row.tier,
  format: row.format,
  mediaType: row.mediaType,
  attempt: row.attempts + 1,
  delays: row.delays,
  trace: row.trace,
})
