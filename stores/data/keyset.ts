import type { Sql } from './sql.ts'

/** A position in a list that is sorted newest first: the last item before the page. */
export interface Keyset {
  at: Date
  id: string
}

/** The part of a list to read. */
export interface PageRequest {
  limit: number
  after?: Keyset | undefined
}

/** A page of a list, and the position of the next one, if there is one. */
export interface PageOf<Item> {
  items: Item[]
  next?: Keyset
}

/** The condition for the rows after the keyset: a row comparison that an index on (`column`, `id`) can serve. */
export const afterKeyset = (sql: Sql, column: string, { after }: PageRequest, id = 'id') =>
  after ? sql`(${sql(column)}, ${sql(id)}) < (${after.at}, ${after.id})` : sql`true`

/** Makes a page from the rows of a query with the limit `limit + 1`. */
export function toPage<Row extends { id: string }>(
  rows: readonly Row[],
  { limit }: PageRequest,
  at: (row: Row) => Date,
): PageOf<Row> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return rows.length > limit && last ? { items, next: { at: at(last), id: last.id } } : { items }
}
