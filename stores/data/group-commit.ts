import { isStatementError } from './retry.ts'

// All writes of a group wait for the slowest of them.
const MAX_GROUP = 16
// The write in progress may wait for a lock. The others must not wait for it longer than this.
const MAX_WAIT_MS = 5

/**
 * Makes a write of one item from a write of several items, like the group commit of a database: items that arrive while a
 * write is in progress are written together when it ends, which costs little more than the write of one item. An item
 * that arrives alone is written at once.
 *
 * @param writeMany one statement or transaction; resolves with the outcomes, in the order of the items
 */
export function groupCommit<Item, Outcome>(
  writeMany: (items: Item[]) => Promise<Outcome[]>,
): (item: Item) => Promise<Outcome> {
  let queued: QueuedItem<Item, Outcome>[] = []
  let timer: NodeJS.Timeout | undefined
  let writesInProgress = 0

  async function writeQueued() {
    clearTimeout(timer)
    timer = undefined
    const group = queued
    queued = []
    writesInProgress++
    await write(group, writeMany)
    writesInProgress--
    if (writesInProgress === 0 && queued.length > 0) writeQueued()
  }

  return (item) => {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
    queued.push({ item, resolve, reject })
    if (writesInProgress === 0 || queued.length === MAX_GROUP) writeQueued()
    else timer ??= setTimeout(writeQueued, MAX_WAIT_MS)
    return promise
  }
}

interface QueuedItem<Item, Outcome> {
  item: Item
  resolve(outcome: Outcome): void
  reject(error: unknown): void
}

async function write<Item, Outcome>(
  group: QueuedItem<Item, Outcome>[],
  writeMany: (items: Item[]) => Promise<Outcome[]>,
) {
  try {
    const outcomes = await writeMany(group.map(({ item }) => item))
    for (const [index, { resolve }] of group.entries()) resolve(outcomes[index]!)
  } catch (error) {
    if (group.length > 1 && isStatementError(error)) {
      // The database refuses a value of one item. The other items must not fail because of it.
      await Promise.all(group.map((one) => write([one], writeMany)))
    } else {
      for (const { reject } of group) reject(error)
    }
  }
}
