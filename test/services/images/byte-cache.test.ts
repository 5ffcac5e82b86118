import t from 'tap'
import { createByteCache } from '../../../services/images/byte-cache.ts'
import { seeded } from '../../helpers/random.ts'

/** Requests an object as the service does: it offers the bytes that the cache does not have. */
function request(cache: ReturnType<typeof createByteCache>, key: string, bytes: number) {
  const kept = cache.get(key)
  if (!kept) cache.offer(key, Buffer.alloc(bytes, key))
  return kept !== undefined
}

t.test('it stores an object at its second request, until the object is deleted', async (t) => {
  const cache = createByteCache({ capacity: 100 })
  t.strictSame(
    [1, 2, 3].map(() => request(cache, 'a', 100)),
    [false, false, true],
  )
  t.strictSame({ ...cache.count }, { hits: 1, misses: 2 })
  cache.delete('a')
  cache.delete('never set')
  t.notOk(cache.get('a'))
  t.notOk(request(cache, 'b', 100))
  t.notOk(request(cache, 'b', 100))
  t.ok(request(cache, 'b', 100), 'and its bytes are free again')
})

t.test('it never stores an object that is larger than the cache', async (t) => {
  const cache = createByteCache({ capacity: 100 })
  for (let n = 0; n < 5; n++) t.notOk(request(cache, 'a', 101))
})

t.test('a client that reads all images once or twice does not replace its contents', async (t) => {
  const cache = createByteCache({ capacity: 100 })
  for (let n = 0; n < 50; n++) request(cache, 'often', 60)
  for (let pass = 0; pass < 2; pass++) {
    for (let n = 0; n < 14; n++) request(cache, `seldom-${n}`, 60)
    t.ok(request(cache, 'often', 60), `pass ${pass}`)
  }
  for (let n = 0; n < 100_000; n++) request(cache, `once-${n}`, 60)
  t.ok(request(cache, 'often', 60), 'however long')
})

t.test('a client that reads more images than fit does not replace its contents', async (t) => {
  const cache = createByteCache({ capacity: 100 })
  for (const images of [1_000, 7_777, 15_000, 23_456, 33_333]) {
    let hits = 0
    // The first pass may fill it.
    for (let pass = 0; pass < 6; pass++) {
      for (let n = 0; n < images; n++) if (request(cache, `${images}-${n}`, 10) && pass > 1) hits++
    }
    t.equal(hits, 4 * 10, `${images} images`)
    for (let n = 0; n < images; n++) cache.delete(`${images}-${n}`)
  }
})

t.test('an object that is requested now replaces one that was requested often in the past', async (t) => {
  const cache = createByteCache({ capacity: 100 })
  for (let n = 0; n < 100_000; n++) request(cache, 'old', 60)
  let asked = 0
  while (!request(cache, 'new', 60)) if (++asked > 100_000) break
  t.ok(asked < 40_000, `after ${asked} times`)
  t.notOk(cache.get('old'), 'both together are too large')
})

t.test('it never exceeds its capacity, and uses all of it', async (t) => {
  const random = seeded(7)
  const cache = createByteCache({ capacity: 1000 })
  const sizes = new Map(
    Array.from({ length: 40 }, (_, n) => [`key-${n}`, 1 + Math.floor(400 * random.next())]),
  )
  const keys = [...sizes.keys()]
  for (let n = 0; n < 20_000; n++) {
    const key = random.pick(keys)
    if (random.next() < 0.02) cache.delete(key)
    else request(cache, key, sizes.get(key)!)
    if (n % 1000) continue
    const kept = keys.filter((key) => cache.get(key)).reduce((sum, key) => sum + sizes.get(key)!, 0)
    t.ok(kept <= 1000, `${kept} bytes`)
  }
  for (const key of keys) cache.delete(key)
  request(cache, 'all', 1000)
  request(cache, 'all', 1000)
  t.ok(request(cache, 'all', 1000), 'all of the capacity can be used')
})
