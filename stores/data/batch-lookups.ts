import DataLoader from 'dataloader'

// More keys in one query delay the first result more than a second query would.
const MAX_KEYS = 64

/**
 * Makes a look-up of one row from a query for several rows. Look-ups in the same turn of the event loop share one query,
 * which costs the process and the database little more than a query for one row.
 *
 * @param findMany resolves with the rows that exist, in any order; a key may occur several times
 */
export function batchLookups<Row>(
  findMany: (keys: readonly string[]) => PromiseLike<readonly Row[]>,
  keyOf: (row: Row) => string,
): (key: string) => Promise<Row | undefined> {
  const loader = new DataLoader<string, Row | undefined>(
    async (keys) => {
      const rows = new Map((await findMany(keys)).map((row) => [keyOf(row), row]))
      return keys.map((key) => rows.get(key))
    },
    { cache: false, maxBatchSize: MAX_KEYS, batchScheduleFn: (run) => setImmediate(run) },
  )
  return (key) => loader.load(key)
}
