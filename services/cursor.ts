import { PAGE_LIMIT } from '../schemas/pages.ts'
import type { PageOf, PageRequest } from '../stores/data/keyset.ts'
import { InvalidCursor } from './errors.ts'
import { isId } from './ids.ts'

/** The query of a list. */
export interface PageQuery {
  limit?: number | undefined
  cursor?: string | undefined
}

/**
 * Reads the cursor of a page.
 *
 * @param canBeId whether a text can be the id of an item; otherwise the cursor belongs to another list
 * @throws {InvalidCursor}
 */
export function toPageRequest({ limit = PAGE_LIMIT, cursor }: PageQuery, canBeId = isId): PageRequest {
  if (cursor === undefined) return { limit }
  // 14 digits of milliseconds reach to the year 5138. PostgreSQL can't read a Date with a year of five digits.
  const [, time, id] = /^(\d{1,14})\.(.+)$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  if (!time || !id || !canBeId(id)) throw new InvalidCursor()
  return { limit, after: { at: new Date(Number(time)), id } }
}

/** Creates the page of a response. `show` converts a row. */
export function fromPage<Row, Item>({ items, next }: PageOf<Row>, show: (row: Row) => Item) {
  const shown = items.map(show)
  return next
    ? { items: shown, nextCursor: Buffer.from(`${next.at.getTime()}.${next.id}`).toString('base64url') }
    : { items: shown }
}
