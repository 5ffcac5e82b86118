import type postgres from 'postgres'

// A count of rows or bytes is far below 2^53, so a bigint is read as a number.
type Types = { bigint: number }

/** A pool of connections. */
export type Database = postgres.Sql<Types>

/** A pool, or the connection of a transaction. */
export type Sql = postgres.ISql<Types>
