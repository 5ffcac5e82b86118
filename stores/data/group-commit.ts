import { isOfStatement } from './retry.ts'

// So many at most go together: what one of them waits for, all wait for.
const MOST = 16
// What is under way may wait for a lock, which is no reason for the others to wait.
const PATIENCE_MS = 5

/**
 * Makes a write of one out of a write of several: what comes while one is under way goes together when that is done, as a
 * database's group commit does, which costs both sides little more than one of them. What comes alone goes at once.
 *
 * @param writeMany a single statement or transaction; resolves with what became of each, in their order
 */
export function groupCommit<Item, Outcome>(
  writeMany: (items: Item[]) => Promise<Outcome[]>,
): (item: Item) => Promise<Outcome> {
  let waiting: Waiting<Item, Outcome>[] = []
  let impatience: NodeJS.Timeout | undefined
  let underWay = 0

  async function write(batch: Waiting<Item, Outcome>[]) {
    try {
      const outcomes = await writeMany(batch.map(({ item }) => item))
      for (const [index, { resolve }] of batch.entries()) resolve(outcomes[index]!)
    } catch (error) {
      if (batch.length > 1 && isOfStatement(error)) {
        // A value of one of them, say, which the others have nothing to do with.
        await Promise.all(batch.map((one) => write([one])))
      } else {
        for (const { reject } of batch) reject(error)
      }
    }
  }

  async function go() {
    clearTimeout(impatience)
    impatience = undefined
    const batch = waiting
    waiting = []
    underWay++
    await write(batch)
    underWay--
    if (underWay === 0 && waiting.length > 0) go()
  }

  return (item) => {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
    waiting.push({ item, resolve, reject })
    if (underWay === 0 || waiting.length === MOST) go()
    else impatience ??= setTimeout(go, PATIENCE_MS)
    return promise
  }
}

interface Waiting<Item, Outcome> {
  item: Item
  resolve(outcome: Outcome): void
  reject(error: unknown): void
}
