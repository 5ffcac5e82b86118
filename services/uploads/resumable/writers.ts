import { setTimeout as sleep } from 'node:timers/promises'

/** How long a new request waits for the end of the previous one, in milliseconds. */
const WAIT_MS = 20_000

/** The requests of this process that change uploads. */
export function createWriters() {
  const active = new Map<string, { stop(): void; ended: Promise<void> }>()
  return {
    /** Registers a writer. @returns a function to call at its end */
    begin(id: string, stop: () => void): () => void {
      const { promise: ended, resolve } = Promise.withResolvers<void>()
      const writer = { stop, ended }
      active.set(id, writer)
      return () => {
        if (active.get(id) === writer) active.delete(id)
        resolve()
      }
    },

    /** Stops the writer of an upload, and waits until it has saved what it received. */
    async stop(id: string): Promise<void> {
      const writer = active.get(id)
      if (!writer) return
      writer.stop()
      const timeout = new AbortController()
      await Promise.race([
        writer.ended,
        sleep(WAIT_MS, undefined, { signal: timeout.signal }).catch(() => {}),
      ])
      timeout.abort()
    },
  }
}
