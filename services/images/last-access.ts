import type { Config } from '../../config.ts'
import type { DataStore } from '../../stores/data/data-store.ts'

const FLUSH_MS = 10_000
const CAPACITY = 10_000
const BATCH = 1_000
const DAY_MS = 86_400_000

type Durations = Pick<Config, 'archiveAfter' | 'deleteAfter'>

/** The maximum age of a stored access time in milliseconds: a day, or a tenth of a shorter retention period. */
const precisionOf = ({ archiveAfter = Infinity, deleteAfter = Infinity }: Durations) =>
  Math.min(DAY_MS, archiveAfter / 10, deleteAfter / 10)

/** Maximum error of the stored access time in milliseconds. It is added to retention periods. */
export const lastAccessTolerance = (durations: Durations) => precisionOf(durations) + 2 * FLUSH_MS

export type LastAccess = ReturnType<typeof createLastAccess>

/**
 * Collects the ids of requested images, and writes their access times every 10 s. Each image is written about once a day.
 * The number of collected ids is bounded: while the database is unavailable, later ids are dropped.
 */
export function createLastAccess({ lifecycle }: Pick<DataStore, 'lifecycle'>, durations: Durations) {
  const precision = precisionOf(durations)
  let requested = new Set<string>()
  let flushing = Promise.resolve()

  async function write(ids: string[]) {
    while (ids.length > 0) {
      try {
        await lifecycle.touch(ids.slice(0, BATCH), precision)
        ids = ids.slice(BATCH)
      } catch {
        // The database is unavailable. The next flush tries again.
        requested = new Set([...ids, ...requested].slice(0, CAPACITY))
        return
      }
    }
  }

  function flush() {
    flushing = flushing.then(() => {
      const ids = [...requested]
      requested.clear()
      return write(ids)
    })
    return flushing
  }

  const flushes = setInterval(flush, FLUSH_MS).unref()

  return {
    /** Records a request for the image. */
    note(id: string) {
      if (requested.size < CAPACITY && requested.add(id).size === CAPACITY) flush()
    },
    flush,
    /** Writes the remaining ids. */
    async close() {
      clearInterval(flushes)
      await flush()
    },
  }
}
