import type postgres from 'postgres'

// A count of rows or bytes is far below 2^53, so a bigint is read as a number.
type Types = { bigint: number }

/** A pool of connections. */
export type Database = postgres.Sql<Types>

/** A pool, or the connection of a transaction. */
export type Sql = postgres.ISql<Types>

/** A part of a statement. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>

/** The pattern for LIKE that finds texts which contain this one. Its own characters have no special meaning. */
export const containing = (text: string) => `%${text.replace(/[\\%_]/g, '\\$&')}%`
