import type { DataStore, FailedLookupCounts } from '../../stores/data/data-store.ts'

export const WINDOW_MS = 60_000
// Who has more addresses than that is not slowed by counting them.
const CAPACITY = 10_000
const BATCH = 500

export type FailedLookups = ReturnType<typeof createFailedLookups>

/** How many guesses an address has made in the window that goes on, and in how many milliseconds that ends. */
export interface FailedLookupCount {
  current: number
  ttl: number
}

/**
 * Counts guesses by address, over all processes: each counts its own at once and adds them to the database, which tells
 * what all have seen. It writes one statement at a time, however many guesses come, and nothing where none do. With the
 * database away each process goes by what it has seen itself.
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
    for (const address of counts.keys()) unsent.delete(address)
    try {
      const totals = await failedLookups.add(new Date(start), counts)
      // What came in meanwhile is not in them yet.
      for (const [address, total] of totals)
        seen.set(address, Math.max(total + (unsent.get(address) ?? 0), seen.get(address) ?? 0))
    } catch {
      // The database is away: this process goes by its own count.
    }
  }

  async function sendAll() {
    while (current().unsent.size > 0) await send()
    sending = undefined
  }

  const of = (address: string): FailedLookupCount => ({
    current: current().seen.get(address) ?? 0,
    ttl: window.start + WINDOW_MS - Date.now(),
  })

  return {
    /** Counts a guess, and tells how many there are with it. */
    add(address: string): FailedLookupCount {
      const { seen, unsent } = current()
      if (seen.has(address) || seen.size < CAPACITY) {
        seen.set(address, (seen.get(address) ?? 0) + 1)
        unsent.set(address, (unsent.get(address) ?? 0) + 1)
        sending ??= sendAll()
      }
      return of(address)
    },

    of,

    /** Whether there is an address that has guessed in this window: where there is none, nobody need be looked up. */
    get any() {
      return window.seen.size > 0
    },

    /** Resolves when the database knows what was counted. */
    close: async () => sending,
  }
}

const openWindow = (start: number) => ({
  start,
  seen: new Map<string, number>(),
  unsent: new Map<string, number>(),
})
const startOfWindow = () => Math.floor(Date.now() / WINDOW_MS) * WINDOW_MS
