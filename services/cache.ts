import { createRequire } from 'node:module'
import type { LRUMap as Lru } from 'mnemonist'

// With `require`, because `import` loads every structure of the library: 1 MB of heap.
const LRUMap: typeof Lru = createRequire(import.meta.url)('mnemonist/lru-map')

/** How many look-ups a cache answered, and how many it could not answer. */
export interface CacheCount {
  hits: number
  misses: number
}

/** A bounded map. It drops the least recently used value first, and each value after some time. */
export interface Cache<Value> {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
  /** Drops a value. A query that began before and ends later does not set it again. */
  delete(key: string): void
  /** Drops all values. */
  clear(): void
  readonly count: CacheCount
}

/**
 * Creates a cache of at most `capacity` values. A value is dropped `ttl` milliseconds after it was set. Therefore a
 * change by another process is seen within that time. A deleted key cannot be set for `ttl` milliseconds.
 */
export function createCache<Value>({ capacity, ttl }: { capacity: number; ttl: number }): Cache<Value> {
  // The value of a deleted key is undefined.
  const entries = new LRUMap<string, { value: Value | undefined; until: number }>(capacity)
  const count = { hits: 0, misses: 0 }
  const isOver = ({ until }: { until: number }) => until <= performance.now()
  const until = () => performance.now() + ttl
  return {
    count,
    get(key) {
      const entry = entries.get(key)
      if (entry?.value !== undefined && !isOver(entry)) {
        count.hits++
        return entry.value
      }
      count.misses++
      return undefined
    },
    set(key, value) {
      const entry = entries.peek(key)
      if (entry && entry.value === undefined && !isOver(entry)) return
      entries.set(key, { value, until: until() })
    },
    delete(key) {
      entries.set(key, { value: undefined, until: until() })
    },
    clear: () => entries.clear(),
  }
}
