import type { Config } from '../../config.ts'
import type { DataStore } from '../../stores/data/data-store.ts'

const FLUSH_MS = 10_000
const CAPACITY = 10_000
const BATCH = 1_000
const DAY_MS = 86_400_000

type Durations = Pick<Config, 'archiveAfter' | 'deleteAfter'>

/** How old the time of the last access that is stored may be, in milliseconds: a day, or less where images go sooner. */
const precisionOf = ({ archiveAfter = Infinity, deleteAfter = Infinity }: Durations) =>
  Math.min(DAY_MS, archiveAfter / 10, deleteAfter / 10)

/** By how many milliseconds an image may have been asked for later than is stored: so much longer it stays. */
export const lastAccessTolerance = (durations: Durations) => precisionOf(durations) + 2 * FLUSH_MS

export type LastAccess = ReturnType<typeof createLastAccess>

/**
 * Remembers which images somebody asked for, and has the database know every 10 s. An image costs a write a day at
 * most. What is remembered is bounded: with the database away, it is the images that were asked for first.
 */
export function createLastAccess({ lifecycle }: Pick<DataStore, 'lifecycle'>, durations: Durations) {
  const precision = precisionOf(durations)
  let asked = new Set<string>()
  let flushing = Promise.resolve()

  async function write(ids: string[]) {
    while (ids.length > 0) {
      try {
        await lifecycle.touch(ids.slice(0, BATCH), precision)
        ids = ids.slice(BATCH)
      } catch {
        // The database is away: they wait for the next time.
        asked = new Set([...ids, ...asked].slice(0, CAPACITY))
        return
      }
    }
  }

  function flush() {
    flushing = flushing.then(() => {
      const ids = [...asked]
      asked.clear()
      return write(ids)
    })
    return flushing
  }

  const flushes = setInterval(flush, FLUSH_MS).unref()

  return {
    /** Says that somebody asked for the image now. */
    note(id: string) {
      if (asked.size < CAPACITY && asked.add(id).size === CAPACITY) flush()
    },
    flush,
    /** Writes what is left. */
    async close() {
      clearInterval(flushes)
      await flush()
    },
  }
}
