import { createRequire } from 'node:module'
import type { LRUMap as Lru } from 'mnemonist'

// By require, as no import reaches one structure of the library without all of the others: 1 MB of heap.
const LRUMap: typeof Lru = createRequire(import.meta.url)('mnemonist/lru-map')

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

/** A bounded store of the bytes of objects that are asked for often. */
export interface ByteCache {
  /** Counts that the object was asked for, and returns its bytes where they are kept. */
  get(key: string): Buffer | undefined
  /** Offers the bytes of an object, to be kept where it is asked for often enough. Nobody changes them from now on. */
  offer(key: string, bytes: Buffer): void
  delete(key: string): void
  readonly count: CacheCount
}

// Askings are counted in windows of so many. What is older than the last two does not count.
const WINDOW = 20_000
// Passes over everything ask for some up to twice more often than for others, depending on where the windows begin.
const MARGIN = 2

/**
 * Makes a cache of at most `capacity` bytes. An object comes in when it is asked for a second time; where it is full,
 * only if it was asked for clearly more often of late than the one that would have to go, which was used longest ago: so
 * passes over everything do not empty it, or fill it anew, as in TinyLFU (https://arxiv.org/abs/1512.00727).
 */
export function createByteCache({ capacity }: { capacity: number }): ByteCache {
  const entries = new Map<string, Buffer>() // the one used longest ago comes first
  const count = { hits: 0, misses: 0 }
  let size = 0
  let asked = new Map<string, number>()
  let askedBefore = new Map<string, number>() // in the window before
  let askings = 0

  const requestCount = (key: string) => (asked.get(key) ?? 0) + (askedBefore.get(key) ?? 0)

  function countAsking(key: string) {
    if (++askings > WINDOW) {
      askings = 1
      askedBefore = asked
      asked = new Map()
    }
    asked.set(key, (asked.get(key) ?? 0) + 1)
  }

  function remove(key: string) {
    size -= entries.get(key)?.length ?? 0
    entries.delete(key)
  }

  /** The keys that have to go for so many bytes to come in; undefined where one of them stays. */
  function victimsOf(key: string, bytes: number) {
    const times = requestCount(key)
    if (bytes > capacity || times < 2) return undefined
    const victims: string[] = []
    let free = capacity - size
    for (const [victim, { length }] of entries) {
      if (free >= bytes) break
      if (times <= requestCount(victim) + MARGIN) return undefined
      victims.push(victim)
      free += length
    }
    return victims
  }

  return {
    count,
    get(key) {
      countAsking(key)
      const bytes = entries.get(key)
      if (!bytes) {
        count.misses++
        return undefined
      }
      count.hits++
      entries.delete(key)
      entries.set(key, bytes)
      return bytes
    },
    offer(key, bytes) {
      remove(key)
      const victims = victimsOf(key, bytes.length)
      if (!victims) return
      victims.forEach(remove)
      entries.set(key, bytes)
      size += bytes.length
    },
    delete: remove,
  }
}
