import type { DataStore } from './data/data-store.ts'
import { createObjectStores, type ObjectStores } from './objects/index.ts'
import type { ObjectStore } from './objects/object-store.ts'
import { measure, type Operation } from './telemetry.ts'

// The stores that requests and the analysis use.
const TRACED = [
  'links',
  'images',
  'imageLeases',
  'uploads',
  'resumable',
  'variants',
  'stats',
  'tokens',
  'sessions',
  'audit',
] as const satisfies (keyof DataStore)[]

/** Reports each call of the data store that a request or an analysis makes as an operation. */
export function traceDataStore(data: DataStore): DataStore {
  const traced = TRACED.map((name) => [name, traceCalls('database', `${name}.`, data[name])])
  return { ...data, ...Object.fromEntries(traced) }
}

/** Reports the reads and deletions of objects as operations. The stages of uploads are operations already. */
export function traceObjectStores({ all }: ObjectStores): ObjectStores {
  const trace = (store: ObjectStore): ObjectStore => {
    const { get, size, delete: remove, readWhole } = store as ObjectStore & { readWhole?: ObjectStore['get'] }
    const calls = { get, size, delete: remove, ...(readWhole && { readWhole }) }
    return { ...store, ...traceCalls('objects', '', calls) }
  }
  return createObjectStores(all.map(({ location, store }) => ({ location, store: trace(store) })))
}

function traceCalls<Calls extends object>(kind: Operation['kind'], prefix: string, calls: Calls): Calls {
  const traced = Object.entries(calls).map(([name, call]) => [
    name,
    Object.assign(
      (...parameters: unknown[]) => measure({ kind, name: prefix + name }, async () => call(...parameters)),
      call,
    ),
  ])
  return Object.fromEntries(traced)
}
