import { PAGE_LIMIT } from '../schemas/pages.ts'
import type { PageOf, PageRequest } from '../stores/data/keyset.ts'
import { InvalidCursor } from './errors.ts'
import { isId } from './ids.ts'

/** What a client asks of a list. */
export interface PageQuery {
  limit?: number | undefined
  cursor?: string | undefined
}

/**
 * Reads the cursor that a client got with the page before.
 *
 * @param canBeId whether a text can be the id of an item of the list: what can't is no cursor of this list
 * @throws {InvalidCursor}
 */
export function toPageRequest({ limit = PAGE_LIMIT, cursor }: PageQuery, canBeId = isId): PageRequest {
  if (cursor === undefined) return { limit }
  // 14 digits of milliseconds reach to the year 5138; PostgreSQL reads no year of five digits as a Date writes it.
  const [, time, id] = /^(\d{1,14})\.(.+)$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  if (!time || !id || !canBeId(id)) throw new InvalidCursor()
  return { limit, after: { at: new Date(Number(time)), id } }
}

/** Makes the page that a client sees; what a row looks like is up to `show`. */
export function fromPage<Row, Item>({ items, next }: PageOf<Row>, show: (row: Row) => Item) {
  const shown = items.map(show)
  return next
    ? { items: shown, nextCursor: Buffer.from(`${next.at.getTime()}.${next.id}`).toString('base64url') }
    : { items: shown }
}
