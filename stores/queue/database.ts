import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DataStore } from '../data/index.ts'
import { LEASE_MS, type Queue } from './queue.ts'

const POLL_MS = 250
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

/** A queue without a broker: whoever takes asks the database again and again. */
export function createDatabaseQueue({ images }: Pick<DataStore, 'images'>): Queue {
  return {
    announce() {},

    async take(signal) {
      while (!signal.aborted) {
        const [taken] = await images.lease({ token: randomUUID(), limit: 1, milliseconds: LEASE_MS })
        if (taken) return taken
        await sleep(POLL_MS, undefined, { signal }).catch(() => {})
      }
      return undefined
    },

    async retry(lease, failure) {
      const milliseconds = Math.min(FIRST_PAUSE_MS * 4 ** (lease.attempt - 1), LONGEST_PAUSE_MS)
      await images.giveBack(lease, { milliseconds, failure })
    },

    async release(lease) {
      await images.giveBack(lease, { milliseconds: 0, uncounted: true })
    },

    depth: () => images.pending(),
  }
}
