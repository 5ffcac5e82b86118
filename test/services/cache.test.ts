import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createByteCache, createCache } from '../../services/cache.ts'
import { seeded } from '../helpers/random.ts'

const LONG = 60_000

t.test('what was set is got, and hits and misses are counted', async (t) => {
  const cache = createCache<number>({ capacity: 10, ttl: LONG })
  t.equal(cache.get('a'), undefined)
  cache.set('a', 0)
  t.equal(cache.get('a'), 0)
  cache.set('a', 1)
  t.equal(cache.get('a'), 1)
  t.equal(cache.get('constructor'), undefined)
  t.strictSame({ ...cache.count }, { hits: 2, misses: 2 })
})

t.test('it is bounded, and forgets what was used longest ago', async (t) => {
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

t.test('a value is forgotten after its time, however often it is asked for', async (t) => {
  const cache = createCache<number>({ capacity: 3, ttl: 50 })
  cache.set('a', 1)
  const start = performance.now()
  while (cache.get('a') !== undefined) await sleep(5)
  t.ok(performance.now() - start >= 45)
  t.ok(performance.now() - start < 5_000)
  cache.set('a', 2)
  t.equal(cache.get('a'), 2, 'it can be set again')
})

t.test('what is deleted is gone, and what was read before does not bring it back', async (t) => {
  const cache = createCache<string>({ capacity: 3, ttl: 200 })
  cache.set('a', 'open')
  cache.delete('a')
  t.equal(cache.get('a'), undefined)
  cache.set('a', 'open, as a query said that began before')
  t.equal(cache.get('a'), undefined)
  cache.delete('never set')
  t.equal(cache.get('never set'), undefined)
  await sleep(210)
  cache.set('a', 'new')
  t.equal(cache.get('a'), 'new', 'by then every such query has ended')
})

t.test('it never tells what is not so, whatever happens', async (t) => {
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

t.test('a cache of bytes', async (t) => {
  /** Asks for an object as a reader does: what is not kept is offered. */
  function ask(cache: ReturnType<typeof createByteCache>, key: string, bytes: number) {
    const kept = cache.get(key)
    if (!kept) cache.offer(key, Buffer.alloc(bytes, key))
    return kept !== undefined
  }

  t.test('what is asked for twice is kept, until it is deleted', async (t) => {
    const cache = createByteCache({ capacity: 100 })
    t.strictSame(
      [1, 2, 3].map(() => ask(cache, 'a', 100)),
      [false, false, true],
    )
    t.strictSame({ ...cache.count }, { hits: 1, misses: 2 })
    cache.delete('a')
    cache.delete('never set')
    t.notOk(cache.get('a'))
    t.notOk(ask(cache, 'b', 100))
    t.notOk(ask(cache, 'b', 100))
    t.ok(ask(cache, 'b', 100), 'and gives its room back')
  })

  t.test('what is larger than the cache never comes in', async (t) => {
    const cache = createByteCache({ capacity: 100 })
    for (let n = 0; n < 5; n++) t.notOk(ask(cache, 'a', 101))
  })

  t.test('one pass over everything, or two, does not empty it', async (t) => {
    const cache = createByteCache({ capacity: 100 })
    for (let n = 0; n < 50; n++) ask(cache, 'often', 60)
    for (let pass = 0; pass < 2; pass++) {
      for (let n = 0; n < 14; n++) ask(cache, `seldom-${n}`, 60)
      t.ok(ask(cache, 'often', 60), `pass ${pass}`)
    }
    for (let n = 0; n < 100_000; n++) ask(cache, `once-${n}`, 60)
    t.ok(ask(cache, 'often', 60), 'however long')
  })

  t.test('passes over more than it holds leave it as it is', async (t) => {
    const cache = createByteCache({ capacity: 100 })
    for (const images of [1_000, 7_777, 15_000, 23_456, 33_333]) {
      let hits = 0
      // The first pass may fill it.
      for (let pass = 0; pass < 6; pass++) {
        for (let n = 0; n < images; n++) if (ask(cache, `${images}-${n}`, 10) && pass > 1) hits++
      }
      t.equal(hits, 4 * 10, `${images} images`)
      for (let n = 0; n < images; n++) cache.delete(`${images}-${n}`)
    }
  })

  t.test(
    'what is asked for more often takes the place of what no longer is, however often it was',
    async (t) => {
      const cache = createByteCache({ capacity: 100 })
      for (let n = 0; n < 100_000; n++) ask(cache, 'old', 60)
      let asked = 0
      while (!ask(cache, 'new', 60)) if (++asked > 100_000) break
      t.ok(asked < 40_000, `after ${asked} times`)
      t.notOk(cache.get('old'), 'both together would be too large')
    },
  )

  t.test('it keeps as many bytes as it may, and no more', async (t) => {
    const random = seeded(7)
    const cache = createByteCache({ capacity: 1000 })
    const sizes = new Map(
      Array.from({ length: 40 }, (_, n) => [`key-${n}`, 1 + Math.floor(400 * random.next())]),
    )
    const keys = [...sizes.keys()]
    for (let n = 0; n < 20_000; n++) {
      const key = random.pick(keys)
      if (random.next() < 0.02) cache.delete(key)
      else ask(cache, key, sizes.get(key)!)
      if (n % 1000) continue
      const kept = keys.filter((key) => cache.get(key)).reduce((sum, key) => sum + sizes.get(key)!, 0)
      t.ok(kept <= 1000, `${kept} bytes`)
    }
    for (const key of keys) cache.delete(key)
    ask(cache, 'all', 1000)
    ask(cache, 'all', 1000)
    t.ok(ask(cache, 'all', 1000), 'no byte of its room is lost')
  })
})
