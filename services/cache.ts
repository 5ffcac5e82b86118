import { LRUMap } from 'mnemonist'

/** How many lookups a cache answered, and how many it could not. */
export interface CacheCount {
  hits: number
  misses: number
}

/** A bounded map that forgets what was used longest ago, and everything after a time. */
export interface Cache<Value> {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
  /** Forgets a value for good: a query that began before, and ends after, does not bring it back. */
  delete(key: string): void
  readonly count: CacheCount
}

/**
 * Makes a cache of at most `capacity` values. A value is forgotten `ttl` milliseconds after it was set, so that what
 * another process changed is seen by then. For as long, what was deleted can't be set.
 */
export function createCache<Value>({ capacity, ttl }: { capacity: number; ttl: number }): Cache<Value> {
  // A deleted key has no value.
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
  }
}
