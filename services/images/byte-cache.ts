import type { CacheCount } from '../cache.ts'

/** The bytes of objects that are requested often, within a bounded number of bytes. */
export interface ByteCache {
  /** Counts the request, and returns the bytes if the cache has them. */
  get(key: string): Buffer | undefined
  /** Offers the bytes of an object. The cache keeps them if the object is requested often. Do not change them later. */
  offer(key: string, bytes: Buffer): void
  delete(key: string): void
  readonly count: CacheCount
}

// Requests are counted in windows of this many. Only the current window and the one before it count.
const WINDOW = 20_000
// Clients that read all images in turn can request some of them up to twice more often than others, depending on where
// the windows begin.
const MARGIN = 2

/**
 * Creates a cache of at most `capacity` bytes. It takes in an object at its second request. A full cache takes in an
 * object only if it was requested clearly more often than the least recently used one, which it replaces. Therefore a
 * client that reads all images in turn does not replace the contents of the cache (TinyLFU,
 * https://arxiv.org/abs/1512.00727).
 */
export function createByteCache({ capacity }: { capacity: number }): ByteCache {
  const entries = new Map<string, Buffer>() // least recently used first
  const frequency = createFrequency()
  const count = { hits: 0, misses: 0 }
  let size = 0

  function remove(key: string) {
    size -= entries.get(key)?.length ?? 0
    entries.delete(key)
  }

  /** The keys to remove to make room for `bytes`; undefined if one of them must stay. */
  function victimsOf(key: string, bytes: number) {
    const requests = frequency.of(key)
    if (bytes > capacity || requests < 2) return undefined
    const victims: string[] = []
    let free = capacity - size
    for (const [victim, { length }] of entries) {
      if (free >= bytes) break
      if (requests <= frequency.of(victim) + MARGIN) return undefined
      victims.push(victim)
      free += length
    }
    return victims
  }

  return {
    count,
    get(key) {
      frequency.add(key)
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

/** Counts the requests of each key in the last one to two windows. */
function createFrequency() {
  let current = new Map<string, number>()
  let previous = new Map<string, number>()
  let requests = 0
  return {
    of: (key: string) => (current.get(key) ?? 0) + (previous.get(key) ?? 0),
    add(key: string) {
      if (++requests > WINDOW) {
        requests = 1
        previous = current
        current = new Map()
      }
      current.set(key, (current.get(key) ?? 0) + 1)
    },
  }
}
