// So many at most go together: the answer to a thousand comes later than that to the first of them would.
const MOST = 64

/**
 * Makes a look-up of one row out of a query for several: those that are asked for in the same turn of the event loop go
 * to the database together, which costs both sides little more than one of them.
 *
 * @param findMany resolves with the rows that there are, in any order
 */
export function batchLookups<Row>(
  findMany: (keys: string[]) => Promise<Row[]>,
  keyOf: (row: Row) => string,
): (key: string) => Promise<Row | undefined> {
  let gathered: Batch<Row> | undefined

  async function run(batch: Batch<Row>) {
    await new Promise(setImmediate)
    if (gathered === batch) gathered = undefined
    const rows = await findMany([...batch.keys])
    return new Map(rows.map((row) => [keyOf(row), row]))
  }

  return async (key) => {
    if (!gathered || gathered.keys.size >= MOST) {
      const batch: Batch<Row> = { keys: new Set() }
      batch.rows = run(batch)
      gathered = batch
    }
    const { keys, rows } = gathered
    keys.add(key)
    return (await rows!).get(key)
  }
}

interface Batch<Row> {
  keys: Set<string>
  rows?: Promise<Map<string, Row>>
}
