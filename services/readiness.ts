import { setTimeout as sleep } from 'node:timers/promises'
import type { Stores } from '../stores/index.ts'
import { Unavailable } from './errors.ts'

const PATIENCE_MS = 2_000

/** Whether all that an upload needs answers. */
export function createReadiness({ data, objects }: Pick<Stores, 'data' | 'objects'>) {
  const parts: Record<string, Pings> = { database: data }
  for (const { location, store } of objects.all) {
    if (location.tier === 'hot')
      parts[location.region ? `object store of ${location.region}` : 'object store'] = store
  }
  return {
    /** @throws {Unavailable} its detail names what does not answer */
    async check() {
      const failing = (
        await Promise.all(
          Object.entries(parts).map(async ([name, store]) => ((await answers(store)) ? [] : [name])),
        )
      ).flat()
      if (failing.length > 0) throw new Unavailable({ detail: `No answer from: ${failing.join(', ')}.` })
    },
  }
}

interface Pings {
  ping(): Promise<void>
}

async function answers(store: Pings) {
  const impatience = new AbortController()
  const answer = store.ping().then(
    () => true,
    () => false,
  )
  const silence = sleep(PATIENCE_MS, false, { signal: impatience.signal }).catch(() => false)
  return Promise.race([answer, silence]).finally(() => impatience.abort())
}
