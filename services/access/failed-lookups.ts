import type { DataStore } from '../../stores/data/data-store.ts'
import type { FailedLookupCounts } from '../../stores/data/interfaces/failed-lookups.ts'

export const WINDOW_MS = 60_000
// Clients in more networks than this are not all counted.
const CAPACITY = 10_000
const BATCH = 500

export interface FailedLookupCount {
  /** Failed look-ups in the current window. */
  current: number
  /** Milliseconds until the window ends. */
  ttl: number
}

/**
 * Counts failed look-ups (unknown ids and wrong tokens) by network, over all processes. Each process counts its
 * own look-ups immediately, adds the counts to the database, and gets the totals of all processes. It runs one statement at
 * a time for any number of failed look-ups, and none if no look-up fails. Without the database each process uses its own counts.
 */
export function createFailedLookups({ failedLookups }: Pick<DataStore, 'failedLookups'>) {
  let window = openWindow(startOfWindow())
  let sending: Promise<void> | undefined

  function current() {
    const start = startOfWindow()
    if (start !== window.start) {
      window = openWindow(start)
      failedLookups.forget(new Date(start - WINDOW_MS)).catch(() => {})
    }
    return window
  }

  async function send() {
    const { start, seen, unsent } = current()
    const counts: FailedLookupCounts = new Map([...unsent].slice(0, BATCH))
    for (const key of counts.keys()) unsent.delete(key)
    try {
      const totals = await failedLookups.add(new Date(start), counts)
      // The totals do not include the look-ups that failed since the statement was sent.
      for (const [key, total] of totals)
        seen.set(key, Math.max(total + (unsent.get(key) ?? 0), seen.get(key) ?? 0))
    } catch {
      // Without the database this process uses its own counts.
    }
  }

  async function sendAll() {
    while (current().unsent.size > 0) await send()
    sending = undefined
  }

  const of = (key: string): FailedLookupCount => ({
    current: current().seen.get(key) ?? 0,
    ttl: window.start + WINDOW_MS - Date.now(),
  })

  return {
    /**
     * Counts one failed look-up and returns the count including it.
     *
     * @param key the kind of look-up and the client's network
     * @param isAlwaysCounted for the few keys that are no networks: otherwise a client with many addresses could end the count
     */
    add(key: string, { isAlwaysCounted = false } = {}): FailedLookupCount {
      const { seen, unsent } = current()
      if (isAlwaysCounted || seen.has(key) || seen.size < CAPACITY) {
        seen.set(key, (seen.get(key) ?? 0) + 1)
        unsent.set(key, (unsent.get(key) ?? 0) + 1)
        sending ??= sendAll()
      }
      return of(key)
    },

    of,

    /** Resolves when the database has all counts. */
    close: async () => sending,
  }
}

const openWindow = (start: number) => ({
  start,
  seen: new Map<string, number>(),
  unsent: new Map<string, number>(),
})
const startOfWindow = () => Math.floor(Date.now() / WINDOW_MS) * WINDOW_MS
