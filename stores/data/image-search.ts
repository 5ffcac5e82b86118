import type { Box, ImageRow, ImageSearch } from './interfaces/images.ts'
import { afterKeyset, type Keyset, type PageOf, type PageRequest, toPage } from './keyset.ts'
import { toSearchName } from './search-name.ts'
import type { Fragment, Sql } from './sql.ts'

/** How many images a step of a search checks. */
const SIZES = {
  /** At the beginning of a page, to see whether many images match. */
  first: 500,
  /** Later, in one statement. */
  next: 4_000,
  /** A filter with at most so many images is looked up by them. */
  few: 5_000,
}
/** An image may be newer than its upload by the duration of a transaction. */
const SLACK_MS = 60_000
const FAR_FUTURE = new Date('9999-01-01')

interface Search {
  sql: Sql
  columns: string
  request: PageRequest & { search: ImageSearch }
  sizes?: typeof SIZES
}

/**
 * Finds a page of images that match a search, newest first. The planner has no statistics of an embedded database, and none
 * of pairs of filters anywhere. Therefore each statement has only one reasonable plan:
 *
 * 1. The newest images are checked. A filter that many images match fills the page with them.
 * 2. If a filter matches few images, these are checked.
 * 3. A file name is looked for in the list of uploads, newest first. The images of the uploads with this name are checked.
 * 4. Without a file name, the rest of the list of images is read in stretches, from the first image that may match.
 */
export async function searchImages(search: Search): Promise<PageOf<ImageRow>> {
  const { request, sizes = SIZES } = search
  const limit = request.limit + 1
  // Without a filter, all images match.
  const size = filtersOf(search.sql, request.search).length > 0 ? sizes.first : limit
  const first = await readStretch(search, request.after, { size, limit })
  if (first.rows.length > request.limit || !first.end) return toPage(first.rows, request, atOf)
  const few = await findFew(search)
  if (few) return toPage(await readFew(search, few), request, atOf)
  return toPage(await (request.search.name ? readNamed : readOn)(search, first), request, atOf)
}

const atOf = ({ receivedAt }: ImageRow) => receivedAt

interface Stretch {
  rows: ImageRow[]
  /** The last image that was checked; undefined if the list has no more. */
  end: Keyset | undefined
}

/** Checks the next `size` images of the list. */
async function readStretch(
  { sql, columns, request: { search } }: Search,
  after: Keyset | undefined,
  { size, limit }: { size: number; limit: number },
): Promise<Stretch> {
  const rows = await sql<(ImageRow & { checked: number })[]>`
    with stretch as materialized (
      select ${sql.unsafe(columns)} from images
      where ${afterKeyset(sql, 'received_at', { limit, after })} ${whenReceived(sql, search)}
      order by received_at desc, id desc limit ${size}
    )
    (
      select images.*, 0 as checked from stretch as images
      where true ${conditions(sql, search)} order by received_at desc, id desc limit ${limit}
    )
    union all
    (
      select last.*, (select count(*) from stretch)::integer as checked
      from stretch as last order by received_at, id limit 1
    )
    order by checked, received_at desc, id desc`
  const last = rows.find(({ checked }) => checked > 0)
  return {
    rows: rows.filter(({ checked }) => checked === 0),
    end: last?.checked === size ? { at: last.receivedAt, id: last.id } : undefined,
  }
}

/** Reads the list on until the page is full, or nothing more can match. */
async function readOn(all: Search, first: Stretch): Promise<ImageRow[]> {
  const { request, sizes = SIZES } = all
  let { rows, end } = first
  const { newest, oldest } = await findBounds(all)
  let size = sizes.next
  if (end && newest < end.at) {
    end = { at: newest, id: '' }
    size = sizes.first
  }
  while (end && end.at >= oldest && rows.length <= request.limit) {
    const next = await readStretch(all, end, { size, limit: request.limit + 1 - rows.length })
    rows = [...rows, ...next.rows]
    end = next.end
    size = sizes.next
  }
  return rows
}

interface Bounds {
  newest: Date
  oldest: Date
}

/** When the images were received that match the rest of a search. */
async function findBounds({ sql, request: { search, after } }: Search): Promise<Bounds> {
  const { link, cameraModel, format } = search
  const until = after ? new Date(after.at.getTime() + SLACK_MS) : FAR_FUTURE
  const all = [
    // An image is not newer than its uploads, and only a duplicate is newer than its image.
    link &&
      sql`
        select max(received_at) filter (where received_at <= ${until} or duplicate) as newest,
          case when not bool_or(duplicate) then min(received_at) end as oldest
        from uploads where link_id = ${link}`,
    cameraModel && sql`select max(received_at) as newest from images where camera_model = ${cameraModel}`,
    format && sql`select max(received_at) as newest from images where format = ${format}`,
  ].filter((statement) => typeof statement === 'object')
  const bounds = await Promise.all(
    all.map(async (statement) => (await sql<[Record<'newest' | 'oldest', Date | null>]>`${statement}`)[0]),
  )
  // Without a newest one, nothing matches. Without an oldest one, it is not known.
  const newest = bounds.map((each) => each.newest?.getTime() ?? 0)
  const oldest = bounds.map((each) => each.oldest?.getTime() ?? 0)
  return {
    newest: new Date(Math.min(...newest, until.getTime()) + SLACK_MS),
    oldest: new Date(Math.max(...oldest, 0) - SLACK_MS),
  }
}

/**
 * Reads the rest of the list by the uploads whose file name matches. Each step scans all names, and takes the newest uploads.
 * An image is not newer than its uploads. Therefore a step finds all images that are newer than its oldest upload.
 */
async function readNamed(all: Search, { rows, end }: Stretch): Promise<ImageRow[]> {
  const { sql, request, sizes = SIZES } = all
  const { name, receivedFrom, ...rest } = request.search
  for (let size = sizes.first; end && rows.length <= request.limit; size = sizes.next) {
    const uploads = await sql<{ imageId: string; receivedAt: Date }[]>`
      select image_id, received_at from uploads
      where true ${withName(sql, name!)} and (received_at <= ${new Date(end.at.getTime() + SLACK_MS)} or duplicate)
        ${receivedFrom ? sql`and received_at >= ${new Date(receivedFrom.getTime() - SLACK_MS)}` : sql``}
      order by received_at desc limit ${size}`
    const oldest = uploads.length === size ? uploads.at(-1) : undefined
    const reached = oldest && new Date(oldest.receivedAt.getTime() + SLACK_MS)
    // All these uploads are newer than the rest of the list: they are duplicates, or arrived within a minute.
    if (reached && reached >= end.at) return readOn(all, { rows, end })
    const from =
      receivedFrom && reached ? new Date(Math.max(+receivedFrom, +reached)) : (receivedFrom ?? reached)
    const next = { limit: request.limit - rows.length, after: end, search: { ...rest, receivedFrom: from } }
    rows = [
      ...rows,
      ...(await readFew(
        { ...all, request: next },
        uploads.map(({ imageId }) => imageId),
      )),
    ]
    // All images of this time are checked.
    end = reached && { at: reached, id: '' }
  }
  return rows
}

/** The ids of all images that match one of the filters, if these are few. */
async function findFew({ sql, request: { search }, sizes = SIZES }: Search): Promise<string[] | undefined> {
  if (search.ids) return search.ids
  for (const { select } of filtersOf(sql, search)) {
    if (!select) continue
    const [found] = await sql<[{ ids: string[] | null }]>`
      select case when count(*) <= ${sizes.few} then coalesce(array_agg(id), '{}') end as ids
      from (${select} limit ${sizes.few + 1}) as found`
    if (found.ids) return found.ids
  }
}

/** Joined laterally, so that each id is one look-up: the planner may choose the index of another filter. */
async function readFew({ sql, columns, request }: Search, ids: string[]): Promise<ImageRow[]> {
  if (ids.length === 0) return []
  return sql<ImageRow[]>`
    select images.* from unnest(${[...new Set(ids)]}::text[]) as wanted (id), lateral (
      select ${sql.unsafe(columns)} from images where images.id = wanted.id limit 1
    ) as images
    where ${afterKeyset(sql, 'received_at', request, 'images.id')}
      ${whenReceived(sql, request.search)} ${conditions(sql, request.search)}
    order by received_at desc, images.id desc limit ${request.limit + 1}`
}

interface Filter {
  /** The condition for a row of `images`, after an `and`. */
  condition: Fragment
  /** Selects the ids of all images that match, if these may be few. */
  select?: Fragment
}

/** The filters of a search, except the time of receipt. Those whose images are found quickly come first. */
function filtersOf(sql: Sql, search: ImageSearch): Filter[] {
  const {
    status,
    format,
    cameraModel,
    takenFrom,
    takenTo,
    link,
    name,
    hash,
    ids,
    objectFault,
    damaged,
    box,
  } = search
  const selective = (condition: Fragment): Filter => ({
    condition,
    select: sql`select id from images where true ${condition}`,
  })
  return [
    hash && { condition: sql`and ${isHash(sql, hash)}`, select: withHash(sql, hash) },
    objectFault && selective(sql`and object_fault = ${objectFault}`),
    damaged === true && selective(sql`and damaged`),
    damaged === false && { condition: sql`and damaged is not true` },
    link && {
      condition: withUpload(sql, sql`and link_id = ${link}`),
      select: sql`select image_id as id from uploads where link_id = ${link}`,
    },
    status && selective(sql`and status = ${status}`),
    cameraModel && selective(sql`and camera_model = ${cameraModel}`),
    format && selective(sql`and format = ${format}`),
    (takenFrom || takenTo) && selective(whenTaken(sql, search)),
    box && selective(insideBox(sql, box)),
    name && { condition: withUpload(sql, withName(sql, name)) },
    ids && { condition: sql`and images.id = any(${ids})` },
    search.isPresent && { condition: sql`and status not in ('removed', 'rejected')` },
  ].filter((filter) => typeof filter === 'object')
}

/** The driver takes an empty list for a parameter. */
function conditions(sql: Sql, search: ImageSearch) {
  const all = filtersOf(sql, search).map(({ condition }) => condition)
  return all.length > 0 ? all : sql``
}

/** The time of receipt, by which the list is sorted. */
const whenReceived = (sql: Sql, { receivedFrom, receivedTo }: ImageSearch) => sql`
  ${receivedFrom ? sql`and received_at >= ${receivedFrom}` : sql``}
  ${receivedTo ? sql`and received_at < ${receivedTo}` : sql``}`

/** With `offset 0`, it stays a look-up for each image, and is not joined. */
const withUpload = (sql: Sql, condition: Fragment) =>
  sql`and exists (select 1 from uploads where image_id = images.id ${condition} offset 0)`

/** Like ilike, and three to four times as fast. An index that finds parts of names would slow down each upload. */
const withName = (sql: Sql, name: string) =>
  sql`and strpos(coalesce(search_name, lower(name)), ${toSearchName(name)}) > 0`

const whenTaken = (sql: Sql, { takenFrom, takenTo }: ImageSearch) => sql`
  ${takenFrom ? sql`and taken_at >= ${takenFrom}` : sql``} ${takenTo ? sql`and taken_at < ${takenTo}` : sql``}`

/** A letter after f ends the range in any collation. */
const isHash = (sql: Sql, prefix: string) => sql`hash >= ${prefix} and hash < ${`${prefix}g`}`

/** Images whose hash begins with `prefix`, by the unique index on region and hash. The counts name all regions with images. */
const withHash = (sql: Sql, prefix: string) => sql`
  select id from (
    select found.id from (
      select distinct split_part(key, ' ', 2) as region from upload_counts where kind = 'location'
    ) as place, lateral (
      select id from images where images.region = place.region and ${isHash(sql, prefix)}
        and removed_at is null and shared
    ) as found
    union all
    select id from images where ${isHash(sql, prefix)} and removed_at is null and not shared
  ) as found`

const insideBox = (sql: Sql, { west, south, east, north }: Box) => sql`
  and latitude between ${south} and ${north}
  and ${
    west <= east
      ? sql`longitude between ${west} and ${east}`
      : sql`(longitude >= ${west} or longitude <= ${east})`
  }`
