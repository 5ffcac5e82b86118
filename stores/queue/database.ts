import { setTimeout as sleep } from 'node:timers/promises'
import type { DataStore } from '../data/data-store.ts'
import { LEASE_MS, leaseFairly, nothingAvoided, pauseAfter, type Queue } from './queue.ts'

const POLL_MS = 250

/** A queue without a broker: `take` asks the database four times a second. */
export function createDatabaseQueue(
  { imageLeases }: Pick<DataStore, 'imageLeases'>,
  leaseMs = LEASE_MS,
): Queue {
  return {
    announce() {},

    async take(signal, avoided = nothingAvoided) {
      while (!signal.aborted) {
        const taken = await leaseFairly(imageLeases, avoided(), leaseMs)
        if (taken) return taken
        await sleep(POLL_MS, undefined, { signal }).catch(() => {})
      }
      return undefined
    },

    extend: (lease) => imageLeases.extend(lease, { milliseconds: leaseMs }),

    done() {},

    async retry(lease, failure) {
      await imageLeases.release(lease, {
        milliseconds: pauseAfter(lease.attempt),
        failure,
        counts: 'attempt',
      })
    },

    async delay(lease, reason) {
      const milliseconds = pauseAfter(lease.delays + 1)
      await imageLeases.release(lease, { milliseconds, failure: reason, counts: 'delay' })
    },

    async release(lease) {
      await imageLeases.release(lease, { milliseconds: 0, counts: 'nothing' })
    },

    waiting: () => imageLeases.waiting(),

    async close() {},
  }
}
