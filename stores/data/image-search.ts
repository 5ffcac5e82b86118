import type { Box, ImageRow, ImageSearch } from './interfaces/images.ts'
import { afterKeyset, type Keyset, type PageOf, type PageRequest, toPage } from './keyset.ts'
import { toSearchName } from './search-name.ts'
import type { Fragment, Sql } from './sql.ts'

/** How many images a step of a search checks. */
const SIZES = {
  /** The newest ones. */
  first: 500,
  /** Those of the newest uploads that match. */
  recent: 1_500,
  /** A filter with at most so many images is looked up by them. */
  few: 1_000,
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
 * of pairs of filters anywhere. Therefore each plan of these statements takes about as long as a few scans of the tables, or less:
 *
 * 1. The newest images are checked. A filter that many images match fills the page with them.
 * 2. Filters of columns of `images` are checked in one pass. The database combines their indexes, or scans the table.
 * 3. With a filter by link or file name, and if the other filters match few images, these are checked.
 * 4. Else the newest uploads are checked that match the link or the file name. If these do not fill the page, all images
 *    that match the other filters are joined with all uploads that match.
 */
export async function searchImages(search: Search): Promise<PageOf<ImageRow>> {
  const { request, sizes = SIZES } = search
  const limit = request.limit + 1
  // Without a filter, all images match.
  const size = filtersOf(search.sql, request.search).length > 0 ? sizes.first : limit
  const first = await readStretch(search, request.after, { size, limit })
  if (first.rows.length > request.limit || !first.end) return toPage(first.rows, request, atOf)
  return toPage(await readAll(search), request, atOf)
}

async function readAll(search: Search): Promise<ImageRow[]> {
  const { ids, hash, link, name } = search.request.search
  const few = ids || hash || link || name ? await findFew(search) : undefined
  if (few) return readFew(search, few)
  return link || name ? readUploaded(search) : readMatching(search)
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

/** Checks all images by filters of columns of `images`. */
async function readMatching({ sql, columns, request }: Search): Promise<ImageRow[]> {
  return sql<ImageRow[]>`
    with matching as materialized (${matchingImages(sql, request)}), wanted as materialized (
      select id from matching order by received_at desc, id desc limit ${request.limit + 1}
    )
    select images.* from wanted, lateral (
      select ${sql.unsafe(columns)} from images where images.id = wanted.id limit 1
    ) as images
    order by received_at desc, images.id desc`
}

const matchingImages = (sql: Sql, request: Search['request']) => sql`
  select id, received_at from images
  where ${afterKeyset(sql, 'received_at', request)} ${whenReceived(sql, request.search)}
    ${join(sql, columnFilters(sql, request.search))}`

/**
 * Checks the images of the uploads that match the file name and the link. An image is not newer than its uploads. Therefore
 * the newest uploads have all images that are newer than the oldest of these uploads. If these images do not fill the page,
 * all images that match the other filters are joined with all these uploads.
 *
 * A full join cannot be a nested loop, which would take minutes if the planner expects few rows and there are many. With
 * `offset 0` it stays a full join.
 */
async function readUploaded({ sql, columns, request, sizes = SIZES }: Search): Promise<ImageRow[]> {
  const { search, limit } = request
  const isUploaded = sql`and (is_sure or (true ${join(sql, uploadFilters(sql, search))}))`
  const rows = await sql<(ImageRow & { isComplete: boolean })[]>`
    with uploaded as materialized (${matchingUploads(sql, request)}), recent as materialized (
      select image_id, received_at, is_sure from uploaded order by received_at desc limit ${sizes.recent}
    ), reached as materialized (
      select min(received_at) + interval '1 minute' as at, count(*) < ${sizes.recent} as is_all from recent
    ), newest as materialized (
      select images.* from (
        select image_id, bool_or(is_sure) as is_sure from recent group by image_id
      ) as wanted, reached, lateral (
        select ${sql.unsafe(columns)} from images where images.id = wanted.image_id limit 1
      ) as images
      where (reached.is_all or images.received_at >= reached.at)
        and ${afterKeyset(sql, 'received_at', request, 'images.id')} ${whenReceived(sql, search)}
        ${join(sql, columnFilters(sql, search))} ${isUploaded}
      order by received_at desc, images.id desc limit ${limit + 1}
    ), matching as materialized (${matchingImages(sql, request)}), joined as materialized (
      select id, received_at from (
        select matching.id, matching.received_at, uploaded.image_id, uploaded.is_sure
        from matching full join uploaded on uploaded.image_id = matching.id offset 0
      ) as images
      where id is not null and image_id is not null ${isUploaded}
      group by id, received_at order by received_at desc, id desc limit ${limit + 1}
    ), is_filled as materialized (
      select (select is_all from reached) or (select count(*) from newest) > ${limit} as yes
    )
    (select newest.*, false as is_complete from newest)
    union all
    (
      select images.*, true from (select id from joined where not (select yes from is_filled)) as wanted, lateral (
        select ${sql.unsafe(columns)} from images where images.id = wanted.id limit 1
      ) as images
    )
    order by received_at desc, id desc`
  const complete = rows.filter(({ isComplete }) => isComplete)
  return complete.length > 0 ? complete : rows
}

/**
 * Uploads of all images that match by file name and link. If an image matches by two uploads, one of them is a duplicate,
 * because only the first upload of an image is none. Then it is not sure that the image matches.
 */
function matchingUploads(sql: Sql, { search: { link, name, receivedFrom }, after }: Search['request']) {
  const until = after ? new Date(after.at.getTime() + SLACK_MS) : FAR_FUTURE
  const since = receivedFrom ? new Date(receivedFrom.getTime() - SLACK_MS) : new Date(0)
  const select = (isSure: Fragment, matches: Fragment) => sql`
    select image_id, received_at, ${isSure} as is_sure from uploads
    where (received_at <= ${until} or duplicate) and received_at >= ${since} ${matches}`
  if (!name) return select(sql`true`, sql`and link_id = ${link!}`)
  const isNamed = withName(sql, name)
  if (!link) return select(sql`true`, isNamed)
  return select(
    sql`link_id = ${link} ${isNamed}`,
    sql`and ((link_id = ${link} or duplicate) ${isNamed} or link_id = ${link} and duplicate)`,
  )
}

/**
 * The ids of images of which all that match are a part, if these are few: those that match the filters of columns, the hash or
 * the link.
 */
async function findFew({ sql, request: { search }, sizes = SIZES }: Search): Promise<string[] | undefined> {
  const { ids, hash, link } = search
  if (ids) return ids
  const ofColumns = columnFilters(sql, search)
  for (const select of [
    hash && withHash(sql, hash),
    // In the order of an index, so that the database reads no more of the link than it needs.
    link &&
      sql`
        select image_id as id from uploads where link_id = ${link} order by uploads.received_at desc, uploads.id desc`,
    ofColumns.length > 0 && sql`select id from images where true ${join(sql, ofColumns)}`,
  ]) {
    if (typeof select !== 'object') continue
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

/** The conditions of a search for a row of `images`, each after an `and`, except the time of receipt. */
const filtersOf = (sql: Sql, search: ImageSearch): Fragment[] => [
  ...columnFilters(sql, search),
  ...uploadFilters(sql, search),
  ...(search.ids ? [sql`and images.id = any(${search.ids})`] : []),
]

/** Those of uploads, each a look-up by the index of an image's uploads. */
const uploadFilters = (sql: Sql, { link, name }: ImageSearch): Fragment[] =>
  [link && withUpload(sql, sql`and link_id = ${link}`), name && withUpload(sql, withName(sql, name))].filter(
    (condition) => typeof condition === 'object',
  )

/** Those of columns that a scan of `images` reads. */
function columnFilters(sql: Sql, search: ImageSearch): Fragment[] {
  const { status, format, cameraModel, takenFrom, takenTo, hash, objectFault, damaged, isPresent, box } =
    search
  return [
    hash && sql`and ${isHash(sql, hash)}`,
    objectFault && sql`and object_fault = ${objectFault}`,
    damaged === true && sql`and damaged`,
    damaged === false && sql`and damaged is not true`,
    status && sql`and status = ${status}`,
    cameraModel && sql`and camera_model = ${cameraModel}`,
    format && sql`and format = ${format}`,
    (takenFrom || takenTo) && whenTaken(sql, search),
    box && insideBox(sql, box),
    isPresent && sql`and status not in ('removed', 'rejected')`,
  ].filter((condition) => typeof condition === 'object')
}

const conditions = (sql: Sql, search: ImageSearch) => join(sql, filtersOf(sql, search))

/** The driver takes an empty list for a parameter. */
const join = (sql: Sql, all: Fragment[]) => (all.length > 0 ? all : sql``)

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
