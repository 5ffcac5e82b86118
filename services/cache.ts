import { LRUMapWithDelete } from 'mnemonist'

/** How many lookups a cache answered, and how many it could not. */
export interface CacheCount {
  hits: number
  misses: number
}

/** A bounded map that forgets what was used longest ago, and everything after a time. */
export interface Cache<Value> {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
  delete(key: string): void
  readonly count: CacheCount
}

/**
 * Makes a cache of at most `capacity` values. A value is forgotten `ttl` milliseconds after it was set, so that what
 * another process changed is seen by then.
 */
export function createCache<Value>({ capacity, ttl }: { capacity: number; ttl: number }): Cache<Value> {
  const entries = new LRUMapWithDelete<string, { value: Value; until: number }>(capacity)
  const count = { hits: 0, misses: 0 }
  return {
    count,
    get(key) {
      const entry = entries.get(key)
      if (entry && entry.until > performance.now()) {
        count.hits++
        return entry.value
      }
      count.misses++
      return undefined
    },
    set(key, value) {
      entries.set(key, { value, until: performance.now() + ttl })
    },
    delete(key) {
      entries.delete(key)
    },
  }
}
