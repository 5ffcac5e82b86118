import { setTimeout as sleep } from 'node:timers/promises'
import type { Intake } from './intake.ts'

/** How long a new request waits for the end of the previous one, in milliseconds. */
const WAIT_MS = 20_000

/** Stops a request that appends, also before it has begun to. */
export class Stopper {
  isStopped = false
  #intake: Intake | undefined

  /** Ends these bytes when the request is stopped. */
  watch(intake: Intake) {
    this.#intake = intake
    if (this.isStopped) intake.stop()
  }

  stop() {
    this.isStopped = true
    this.#intake?.stop()
  }
}

/** The requests of this process that change uploads, from their arrival on. */
export function createWriters() {
  const active = new Map<string, { stopper: Stopper; ended: Promise<void> }>()

  /** Stops the request that changes the upload, and waits until it has saved what it received. */
  async function stop(id: string) {
    const writer = active.get(id)
    if (!writer) return
    writer.stopper.stop()
    const timeout = new AbortController()
    await Promise.race([writer.ended, sleep(WAIT_MS, undefined, { signal: timeout.signal }).catch(() => {})])
    timeout.abort()
    if (active.get(id) === writer) active.delete(id)
  }

  return {
    isActive: (id: string) => active.has(id),

    /** Does `work` when the requests that came before have ended. They are stopped. */
    async exclusively<T>(id: string, work: (stopper: Stopper) => Promise<T>): Promise<T> {
      while (active.has(id)) await stop(id)
      const stopper = new Stopper()
      const { promise: ended, resolve } = Promise.withResolvers<void>()
      const writer = { stopper, ended }
      active.set(id, writer)
      try {
        return await work(stopper)
      } finally {
        if (active.get(id) === writer) active.delete(id)
        resolve()
      }
    },
  }
}
