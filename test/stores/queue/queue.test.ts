import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import t from 'tap'
import { createDatabaseQueue } from '../../../stores/queue/database.ts'
import { openJetStreamQueue } from '../../../stores/queue/jetstream.ts'
import type { Lease, Queue } from '../../../stores/queue/queue.ts'
import { newLink } from '../../helpers/links.ts'
import { startNats, withoutNats } from '../../helpers/nats.ts'
import { pendingImages, ready, until } from '../../helpers/pending.ts'
import { inTier } from '../../helpers/tiers.ts'

const { data, upload, work, statusOf, clear } = await pendingImages(t)
const { images, imageLeases } = data

/** Long enough for a queue to bring what it has. */
const soon = () => AbortSignal.timeout(2_000)

/** What every queue does. `open` opens one more on the same images; a lease lasts `leaseMs`. */
async function contract(t: Test, open: (t: Test, leaseMs?: number) => Promise<Queue>) {
  t.beforeEach(clear)

  await t.test('a pending image is taken once and settled', async (t) => {
    const queue = await open(t)
    const id = await upload()
    queue.announce(id)
    t.equal(await queue.waiting(), 1)
    const lease = await queue.take(soon())
    t.match(lease, { imageId: id, mediaType: 'image/png', attempt: 1 })
    t.ok(await imageLeases.settle(lease!, ready))
    queue.done(lease!)
    t.equal(await queue.waiting(), 0)
    t.equal(await queue.take(AbortSignal.timeout(500)), undefined)
  })

  await t.test('a take that began before the image arrived gets it', async (t) => {
    const queue = await open(t)
    const taking = queue.take(AbortSignal.timeout(5_000))
    await sleep(300)
    const id = await upload()
    queue.announce(id)
    const announced = Date.now()
    const lease = await taking
    t.equal(lease?.imageId, id)
    t.ok(Date.now() - announced < 1_000, 'at once')
    await imageLeases.settle(lease!, ready)
    queue.done(lease!)
  })

  await t.test('an image is not taken while images of its link occupy the other decoders', async (t) => {
    const queue = await open(t)
    const slow = await upload()
    queue.announce(slow)
    const strictly = () => ({ images: [slow], strictly: true })
    const first = await queue.take(soon())
    const next = await upload()
    queue.announce(next)
    t.equal(await queue.take(AbortSignal.timeout(600), strictly), undefined, 'the same link')
    const other = await upload(await data.links.insert(newLink()))
    queue.announce(other)
    const taken = await queue.take(soon(), strictly)
    t.equal(taken?.imageId, other, 'another link')
    const last = await queue.take(soon())
    t.equal(last?.imageId, next, 'later')
    for (const lease of [first, taken, last]) {
      await imageLeases.settle(lease!, ready)
      queue.done(lease!)
    }
  })

  await t.test('images of other links come before those of a link that must wait', async (t) => {
    const queue = await open(t)
    const [slow, next, other] = [
      await upload(),
      await upload(),
      await upload(await data.links.insert(newLink())),
    ]
    for (const id of [slow, next, other]) queue.announce(id)
    const leases: Lease[] = []
    for (const expected of [slow, other, next]) {
      const lease = await queue.take(soon(), () => ({
        images: leases.length > 0 ? [slow] : [],
        strictly: false,
      }))
      t.equal(lease?.imageId, expected)
      leases.push(lease!)
    }
    for (const lease of leases) {
      await imageLeases.settle(lease, ready)
      queue.done(lease)
    }
  })

  await t.test('an aborted take ends at once', async (t) => {
    const queue = await open(t)
    t.equal(await queue.take(AbortSignal.abort()), undefined)
    const began = Date.now()
    t.equal(await queue.take(AbortSignal.timeout(300)), undefined)
    t.ok(Date.now() - began < 600)
    for (let milliseconds = 0; milliseconds < 10; milliseconds++) {
      const abort = new AbortController()
      const taking = queue.take(abort.signal)
      await sleep(milliseconds)
      abort.abort()
      await taking
    }
    t.ok(Date.now() - began < 1_500, 'at any moment')
  })

  await t.test('each image is taken by one worker', async (t) => {
    const [one, other] = [await open(t), await open(t)]
    const ids = await Promise.all(Array.from({ length: 40 }, upload))
    for (const id of ids) one.announce(id)
    const settled: string[] = []
    const end = new AbortController()
    const workers = [one, one, one, other, other, other].map((queue) => work(queue, end.signal, settled))
    await until(() => settled.length >= ids.length)
    await sleep(300)
    end.abort()
    await Promise.all(workers)
    t.strictSame(settled.sort(), ids.sort())
  })

  await t.test('an image whose analysis failed is taken again after a growing pause', async (t) => {
    const queue = await open(t)
    const id = await upload()
    queue.announce(id)
    const first = await queue.take(soon())
    await queue.retry(first!, 'out of memory')
    const failed = Date.now()
    t.match(await images.find(id), { status: 'pending', failure: 'out of memory' })
    const second = await queue.take(AbortSignal.timeout(5_000))
    t.match(second, { imageId: id, attempt: 2 })
    t.ok(Date.now() - failed > 900, 'a second later')
    await queue.retry(second!, 'out of memory')
    const dueIn = await imageLeases.dueIn(id)
    t.ok(dueIn! > 3_500 && dueIn! <= 4_000, 'then four seconds later')
    t.equal(await queue.take(AbortSignal.timeout(500)), undefined, 'and not before')
  })

  await t.test(
    'an image that cannot be tried is delayed for a growing pause, and no attempt counts',
    async (t) => {
      const queue = await open(t)
      const id = await upload()
      queue.announce(id)
      const first = await queue.take(soon())
      await queue.delay(first!, 'the temporary folder is full')
      t.match(await images.find(id), { status: 'pending', failure: 'the temporary folder is full' })
      await data.sql`update images set due_at = now(), delays = 100 where id = ${id}`
      const later = await queue.take(AbortSignal.timeout(8_000))
      t.match(later, { imageId: id, attempt: 1, delays: 100 })
      await queue.delay(later!, 'the temporary folder is full')
      const dueIn = await data.imageLeases.dueIn(id)
      t.ok(dueIn! > 59_000 && dueIn! <= 60_000, 'at most a minute')
      t.match(await images.find(id), { status: 'pending' }, 'however often')
    },
  )

  await t.test('a released image is taken again at once, and the attempt does not count', async (t) => {
    const [leaving, staying] = [await open(t), await open(t)]
    const id = await upload()
    leaving.announce(id)
    const taken = await leaving.take(soon())
    t.match(taken, { imageId: id, attempt: 1 })
    const taking = staying.take(AbortSignal.timeout(5_000))
    await leaving.release(taken!)
    const released = Date.now()
    const lease = await taking
    t.match(lease, { imageId: id, attempt: 1 })
    t.ok(Date.now() - released < 1_000, 'at once')
    await imageLeases.settle(lease!, ready)
    staying.done(lease!)
  })

  await t.test('an image of a dead worker is taken again when its lease has expired', async (t) => {
    const [dying, living] = [await open(t, 1_000), await open(t, 1_000)]
    const id = await upload()
    dying.announce(id)
    const lost = await dying.take(soon())
    const taken = Date.now()
    t.equal(lost?.imageId, id)
    const lease = await living.take(AbortSignal.timeout(8_000))
    t.match(lease, { imageId: id, attempt: 1 }, 'the death of a worker is no attempt')
    t.ok(Date.now() - taken > 900)
    t.notOk(await imageLeases.settle(lost!, ready), 'a verdict that comes too late does not count')
    t.notOk(await dying.extend(lost!))
    dying.done(lost!)
    t.equal(await statusOf(id), 'pending')
    t.ok(await imageLeases.settle(lease!, ready))
    living.done(lease!)
  })

  await t.test('an extended lease does not expire', async (t) => {
    const [busy, idle] = [await open(t, 1_000), await open(t, 1_000)]
    const id = await upload()
    busy.announce(id)
    const lease = await busy.take(soon())
    t.equal(lease?.imageId, id)
    const taking = idle.take(AbortSignal.timeout(2_500))
    for (let i = 0; i < 6; i++) {
      await sleep(400)
      t.ok(await busy.extend(lease!))
    }
    t.equal(await taking, undefined)
    t.ok(await imageLeases.settle(lease!, ready))
    busy.done(lease!)
  })

  await t.test('an image that was removed is not taken', async (t) => {
    const queue = await open(t)
    const id = await upload()
    await images.remove(id)
    queue.announce(id)
    t.equal(await queue.take(AbortSignal.timeout(700)), undefined)
  })
}

inTier.default('the authoritative queue in the database', async (t) => {
  t.beforeEach(clear)
  const token = 'one'

  await t.test('a pending image is leased by its id, once', async (t) => {
    const [id, other] = [await upload(), await upload()]
    t.ok((await imageLeases.dueIn(id))! <= 0)
    t.match(await imageLeases.leaseOne({ imageId: id, token, milliseconds: 10_000 }), {
      imageId: id,
      token,
      attempt: 1,
    })
    t.equal(await imageLeases.leaseOne({ imageId: id, token: 'two', milliseconds: 10_000 }), undefined)
    const dueIn = (await imageLeases.dueIn(id))!
    t.ok(dueIn > 9_000 && dueIn <= 10_000)
    await imageLeases.settle({ imageId: id, token }, ready)
    t.equal(await imageLeases.dueIn(id), undefined)
    for (const imageId of [id, 'unknown', '']) {
      t.equal(await imageLeases.leaseOne({ imageId, token, milliseconds: 10_000 }), undefined)
    }
    t.equal(await imageLeases.waiting(), 1)
    t.match(await imageLeases.leaseOne({ imageId: other, token, milliseconds: 0 }), { imageId: other })
    t.match(
      await imageLeases.leaseOne({ imageId: other, token, milliseconds: 0 }),
      { attempt: 1 },
      'when it has run out',
    )
  })

  await t.test('an image that no worker has leased for some time is unclaimed', async (t) => {
    const [first, leased, second] = [await upload(), await upload(), await upload()]
    await imageLeases.leaseOne({ imageId: leased, token, milliseconds: 10_000 })
    t.strictSame(await imageLeases.overdue({ milliseconds: 60_000, limit: 10 }), [])
    t.strictSame(await imageLeases.overdue({ milliseconds: 0, limit: 10 }), [first, second])
    t.strictSame(await imageLeases.overdue({ milliseconds: 0, limit: 1 }), [first])
  })

  await t.test('only the holder can extend a lease', async (t) => {
    const imageId = await upload()
    await imageLeases.leaseOne({ imageId, token, milliseconds: 1_000 })
    t.notOk(await imageLeases.extend({ imageId, token: 'two' }, { milliseconds: 10_000 }))
    t.ok((await imageLeases.dueIn(imageId))! <= 1_000)
    t.ok(await imageLeases.extend({ imageId, token }, { milliseconds: 10_000 }))
    t.ok((await imageLeases.dueIn(imageId))! > 9_000)
    await images.remove(imageId)
    t.notOk(await imageLeases.extend({ imageId, token }, { milliseconds: 10_000 }))
  })
})

inTier.default('database', async (t) => {
  await contract(t, async (t, leaseMs) => {
    const queue = createDatabaseQueue(data, leaseMs)
    t.teardown(() => queue.close())
    return queue
  })
})

inTier.engines('JetStream', { skip: withoutNats() }, async (t) => {
  await contract(t, async (t, leaseMs) => {
    const nats = await natsOf(t)
    const queue = await openJetStreamQueue([nats.url], data, { leaseMs })
    t.teardown(() => queue.close())
    return queue
  })
})

// One for each test, since the consumer keeps the time of the lease that it was made with.
const servers = new WeakMap<Test, ReturnType<typeof startNats>>()
function natsOf(t: Test) {
  const nats = servers.get(t) ?? startNats(t)
  servers.set(t, nats)
  return nats
}
