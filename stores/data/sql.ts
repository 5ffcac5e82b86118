import postgres from 'postgres'

// A count of rows or bytes stays far below 2^53, so a bigint is a number here.
type Types = { bigint: number }

/** A pool of connections. */
export type Database = postgres.Sql<Types>

/** A pool, or the connection of a transaction. */
export type Sql = postgres.ISql<Types>

/** Names of columns as a query's text, for `sql.unsafe`: the driver's own helper takes the query apart for them each time. */
export const columnList = (fields: string[]) => fields.map(postgres.fromCamel).join(', ')
