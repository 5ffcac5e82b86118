import type { Sql } from './sql.ts'

/** A place in a list that is sorted newest first: the last item before the page. */
export interface Keyset {
  at: Date
  id: string
}

/** What of a list to read. */
export interface PageRequest {
  limit: number
  after?: Keyset | undefined
}

/** A page of a list, and where the next one begins where there is one. */
export interface PageOf<Item> {
  items: Item[]
  next?: Keyset
}

/** The condition that leaves out all up to the page: the row comparison that an index on (`at`, `id`) serves. */
export const beyond = (sql: Sql, at: string, { after }: PageRequest) =>
  after ? sql`(${sql(at)}, id) < (${after.at}, ${after.id})` : sql`true`

/** Makes the page of the rows that a query with `limit + 1` found. */
export function toPage<Row extends { id: string }>(
  rows: readonly Row[],
  { limit }: PageRequest,
  at: (row: Row) => Date,
): PageOf<Row> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return rows.length > limit && last ? { items, next: { at: at(last), id: last.id } } : { items }
}
