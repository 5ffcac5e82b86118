import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createCache } from '../../services/cache.ts'
import { seeded } from '../helpers/random.ts'

const LONG = 60_000

t.test('a cache returns what was set, and counts hits and misses', async (t) => {
  const cache = createCache<number>({ capacity: 10, ttl: LONG })
  t.equal(cache.get('a'), undefined)
  cache.set('a', 0)
  t.equal(cache.get('a'), 0)
  cache.set('a', 1)
  t.equal(cache.get('a'), 1)
  t.equal(cache.get('constructor'), undefined)
  t.strictSame({ ...cache.count }, { hits: 2, misses: 2 })
})

t.test('a cache has at most its capacity of values, and drops the least recently used one', async (t) => {
  const cache = createCache<number>({ capacity: 3, ttl: LONG })
  for (const [n, key] of ['a', 'b', 'c'].entries()) cache.set(key, n)
  cache.get('a')
  cache.set('d', 3)
  t.strictSame(
    ['a', 'b', 'c', 'd'].map((key) => cache.get(key)),
    [0, undefined, 2, 3],
  )
  for (let n = 0; n < 10_000; n++) cache.set(`${n}`, n)
  let kept = 0
  for (let n = 0; n < 10_000; n++) if (cache.get(`${n}`) !== undefined) kept++
  t.equal(kept, 3)
})

t.test('a cache drops a value after its time, even if it is read often', async (t) => {
  const cache = createCache<number>({ capacity: 3, ttl: 50 })
  cache.set('a', 1)
  const start = performance.now()
  while (cache.get('a') !== undefined) await sleep(5)
  t.ok(performance.now() - start >= 45)
  t.ok(performance.now() - start < 5_000)
  cache.set('a', 2)
  t.equal(cache.get('a'), 2, 'it can be set again')
})

t.test('a deleted value stays deleted, also if an older query ends after the deletion', async (t) => {
  const cache = createCache<string>({ capacity: 3, ttl: 200 })
  cache.set('a', 'open')
  cache.delete('a')
  t.equal(cache.get('a'), undefined)
  cache.set('a', 'open, from a query that began before')
  t.equal(cache.get('a'), undefined)
  cache.delete('never set')
  t.equal(cache.get('never set'), undefined)
  await sleep(210)
  cache.set('a', 'new')
  t.equal(cache.get('a'), 'new', 'after the time every such query has ended')
})

t.test('a cache never returns a value that was replaced or deleted', async (t) => {
  const random = seeded(48)
  const cache = createCache<number>({ capacity: 8, ttl: LONG })
  const truth = new Map<string, number>()
  const keys = Array.from({ length: 20 }, (_, n) => `${n}`)
  let lookups = 0
  for (let n = 0; n < 20_000; n++) {
    const key = random.pick(keys)
    const dice = random.next()
    if (dice < 0.3) {
      cache.set(key, n)
      truth.set(key, n)
    } else if (dice < 0.35) {
      cache.delete(key)
      truth.delete(key)
    } else {
      lookups++
      const value = cache.get(key)
      if (value !== undefined && value !== truth.get(key)) t.fail(`${key} is ${value}`)
    }
  }
  t.equal(cache.count.hits + cache.count.misses, lookups)
  t.ok(cache.count.hits > 0)
})
