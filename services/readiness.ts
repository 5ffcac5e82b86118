import { setTimeout as sleep } from 'node:timers/promises'
import type { Stores } from '../stores/index.ts'
import { StoreUnavailable } from '../stores/unavailable.ts'
import { Unavailable } from './errors.ts'

const TIMEOUT_MS = 2_000

/** How long a result is used again. Probes of many callers cost the stores one request per second. */
const CACHE_MS = 1_000

export type Readiness = ReturnType<typeof createReadiness>

/** Checks the stores that an upload needs. */
export function createReadiness(
  { data, objects }: Pick<Stores, 'data' | 'objects'>,
  now = () => performance.now(),
) {
  const hot = objects.all.filter(({ location }) => location.tier === 'hot')
  const stores = [
    { name: 'database', store: data as Pingable },
    ...hot.map(({ location, store }) => ({
      name: location.region ? `object store of ${location.region}` : 'object store',
      store,
    })),
  ]
  let checked: { at: number; faults: Promise<(string | undefined)[]> } | undefined

  async function faults() {
    if (!checked || now() - checked.at >= CACHE_MS) {
      checked = { at: now(), faults: Promise.all(stores.map(({ name, store }) => findFault(name, store))) }
    }
    return (await checked.faults).filter((fault) => fault !== undefined)
  }

  return {
    /** A sentence about each store that can't be used. Each is asked with a time limit of 2 s. A result is used again for a second. */
    faults,

    /** @throws {Unavailable} its detail gives the reason for each store that can't be used */
    async check() {
      const found = await faults()
      if (found.length > 0) throw new Unavailable({ detail: found.join(' ') })
    },
  }
}

interface Pingable {
  ping(): Promise<void>
}

/** Describes the fault of a store in one sentence. Undefined if the store can be used. */
async function findFault(name: string, store: Pingable): Promise<string | undefined> {
  const timeout = new AbortController()
  const fault = store.ping().then(
    () => undefined,
    (error: Error) =>
      error instanceof StoreUnavailable
        ? error.message.replace(/^The (database|object store)/, `The ${name}`)
        : `The ${name} cannot be used.`,
  )
  const silence = sleep(TIMEOUT_MS, `The ${name} does not respond.`, { signal: timeout.signal }).catch(
    () => undefined,
  )
  return Promise.race([fault, silence]).finally(() => timeout.abort())
}
