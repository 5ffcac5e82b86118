import { PAGE_LIMIT } from '../schemas/pages.ts'
import type { PageOf, PageRequest } from '../stores/data/keyset.ts'
import { InvalidCursor } from './errors.ts'

/** What a client asks of a list. */
export interface PageQuery {
  limit?: number | undefined
  cursor?: string | undefined
}

/**
 * Reads the cursor that a client got with the page before.
 *
 * @throws {InvalidCursor}
 */
export function toPageRequest({ limit = PAGE_LIMIT, cursor }: PageQuery): PageRequest {
  if (cursor === undefined) return { limit }
  const [, time, id] =
    /^(\d{1,15})\.([0-9A-Za-z-]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  if (!time || !id) throw new InvalidCursor()
  return { limit, after: { at: new Date(Number(time)), id } }
}

/** Makes the page that a client sees; what a row looks like is up to `show`. */
export function fromPage<Row, Item>({ items, next }: PageOf<Row>, show: (row: Row) => Item) {
  const shown = items.map(show)
  return next
    ? { items: shown, nextCursor: Buffer.from(`${next.at.getTime()}.${next.id}`).toString('base64url') }
    : { items: shown }
}
