import type { Test } from 'tap'
import type { Verdict } from '../../../../stores/data/interfaces/image-leases.ts'
import { atOnce, type Context, countDrift, newImage } from './context.ts'

/** How a data store leases images to workers. */
export function testImageLeases(
  t: Test,
  { sql, images, imageLeases, stats, insertLink, record, leaseOne, store }: Context,
) {
  t.test('two workers never get the same image', async (t) => {
    const link = await insertLink()
    await atOnce(200, (n) => record(link, `${n}`, newImage('pending', { format: 'TIFF' })))
    t.equal(await imageLeases.waiting(), 200)
    const leased = await atOnce(8, async (worker) => {
      const limit = 1 + (worker % 3)
      const mine = []
      for (;;) {
        const leases = await imageLeases.lease({ token: `worker ${worker}`, limit, milliseconds: 60_000 })
        if (leases.length === 0) return mine
        if (leases.length > limit) t.fail(`${leases.length} leases instead of ${limit}`)
        mine.push(...leases)
      }
    })
    const all = leased.flat()
    t.equal(all.length, 200)
    t.equal(new Set(all.map(({ imageId }) => imageId)).size, 200)
    t.ok(
      all.every(
        ({ attempt, format, mediaType }) => attempt === 1 && `${format} ${mediaType}` === 'TIFF image/tiff',
      ),
    )
    t.equal(await imageLeases.waiting(), 200, 'leased images still wait')
  })

  t.test(
    'no more images are leased than requested, also with a wrong row estimate of the planner',
    async (t) => {
      const link = await insertLink()
      await record(link, 'first', newImage('pending'))
      await sql`analyze images`
      await atOnce(19, (n) => record(link, `${n}`, newImage('pending')))
      for (const limit of [1, 3]) {
        t.equal((await imageLeases.lease({ token: 'a', limit, milliseconds: 60_000 })).length, limit)
      }
    },
  )

  t.test('only images that wait and are due are leased, the longest overdue first', async (t) => {
    const link = await insertLink()
    await record(link, 'ready')
    await images.remove(await record(link, 'removed', newImage('pending')))
    t.equal(await leaseOne(), undefined)
    const [late, early] = [
      await record(link, 'late', newImage('pending')),
      await record(link, 'early', newImage('pending')),
    ]
    await sql`update images set due_at = due_at - interval '1 hour' where id = ${early}`
    t.equal((await leaseOne()).imageId, early)
    t.equal((await leaseOne()).imageId, late)
    t.equal(await leaseOne(), undefined)
  })

  t.test(
    'after a lease expires, another worker gets the image, and the first verdict is ignored',
    async (t) => {
      const id = await record(await insertLink(), 'a', newImage('pending', { format: 'PNG' }))
      const first = await leaseOne(60_000)
      t.match(first, { imageId: id, attempt: 1 })
      t.equal(await leaseOne(), undefined, 'not before it has run out')
      await sql`update images set due_at = due_at - interval '1 minute'`
      const second = await leaseOne()
      t.match(second, { imageId: id, attempt: 1 }, 'a lease that expired is no attempt')

      t.equal(await imageLeases.settle(first, { status: 'rejected', failure: 'too late' }), false)
      await imageLeases.release(first, { milliseconds: 0, counts: 'attempt' })
      t.equal(await leaseOne(), undefined, 'it is not for the first to give back')
      const metadata = { format: 'APNG', mediaType: 'image/apng', width: 3, height: 2 }
      t.equal(await imageLeases.settle(second, { status: 'ready', metadata }), true)
      t.match(await images.find(id), { status: 'ready', failure: null, removedAt: null, ...metadata })
      t.equal(await imageLeases.settle(second, { status: 'failed', failure: 'again' }), false)
      t.equal(await imageLeases.waiting(), 0)
      t.match(await stats.top('format', 10), [{ key: 'APNG', uploads: 1 }])
    },
  )

  t.test('a released image is due again after its pause, and the attempt counts', async (t) => {
    const id = await record(await insertLink(), 'a', newImage('pending'))
    const lease = await leaseOne()
    const start = Date.now()
    await imageLeases.release(lease, { milliseconds: 200, failure: 'try again', counts: 'attempt' })
    t.match(await images.find(id), { status: 'pending', failure: 'try again' })
    let again = await leaseOne()
    while (!again) again = await leaseOne()
    t.ok(Date.now() - start >= 199, 'not before its time')
    t.match(again, { imageId: id, attempt: 2 })

    await imageLeases.release(again, { milliseconds: 0, counts: 'nothing' })
    const third = await leaseOne()
    t.match(third, { attempt: 2, delays: 0 }, 'it was not tried, so it does not count')
    await imageLeases.release(third, { milliseconds: 0, failure: 'no disk space', counts: 'delay' })
    t.match(await leaseOne(), { attempt: 2, delays: 1 }, 'a delay is not an attempt')
  })

  t.test('settled images are queued for a new analysis by id or by status', async (t) => {
    const link = await insertLink()
    const [failed, ready, waiting] = await Promise.all(
      ['failed', 'ready', 'waiting'].map((hash) => record(link, hash, newImage('pending'))),
    )
    await sql`update images set status = 'failed', due_at = null, attempts = 3 where id = ${failed!}`
    await sql`update images set status = 'ready', due_at = null where id = ${ready!}`
    t.strictSame(await imageLeases.requeue({ status: 'failed', limit: 10 }), [failed])
    t.strictSame(await imageLeases.requeue({ status: 'failed', limit: 10 }), [], 'once')
    t.strictSame(await imageLeases.requeue({ ids: [ready!, waiting!], limit: 10 }), [ready])
    t.equal(await imageLeases.waiting(), 3)
    t.match(await imageLeases.leaseOne({ imageId: failed!, token: 'x', milliseconds: 60_000 }), {
      attempt: 1,
      pending: false,
    })
  })

  t.test('an image that failed or is corrupt can be analysed again, and its counts follow', async (t) => {
    const link = await insertLink()
    const settleNext = async (verdict: Verdict) => imageLeases.settle((await leaseOne())!, verdict)
    const failure = 'it crashes'
    const failed = await record(link, 'failed', newImage('pending', { cameraModel: 'Box 1' }))
    await settleNext({ status: 'failed', failure })
    const corrupt = await record(link, 'corrupt', newImage('pending', { cameraModel: 'Box 1' }))
    await settleNext({ status: 'corrupt', failure })
    t.equal(await leaseOne(), undefined)

    t.strictSame(await imageLeases.requeue({ ids: [failed], limit: 1 }), [failed])
    t.match(await images.find(failed), { status: 'failed' }, 'the status stays until there is a verdict')
    t.match(await leaseOne(), { imageId: failed, pending: false, attempt: 1 })
    t.strictSame(await imageLeases.requeue({ ids: [failed], limit: 1 }), [], 'it waits already')
    await sql`update images set due_at = now() where due_at is not null`
    await settleNext({ status: 'ready', metadata: { format: 'PNG', mediaType: 'image/png' } })
    t.match(await images.find(failed), { status: 'ready', failure: null, format: 'PNG' })
    t.strictSame(await countDrift(store), [])

    await sql`update images set settled_at = now() - interval '8 days' where id = ${corrupt}`
    t.strictSame(await imageLeases.requeue({ ids: [corrupt], limit: 1 }), [corrupt])
    t.strictSame([...(await store.lifecycle.corrupt({ milliseconds: 60_000, limit: 1 }))], [])
    await settleNext({ status: 'ready', metadata: { format: 'GIF', mediaType: 'image/gif' } })
    t.match(await images.find(corrupt), { status: 'ready', format: 'GIF' })
    t.strictSame(await countDrift(store), [])

    await images.remove(corrupt)
    t.strictSame(
      await imageLeases.requeue({ ids: [corrupt, 'nothing'], limit: 2 }),
      [],
      'a removed image is not analysed',
    )
  })

  t.test('all images with a status can be analysed again, in batches', async (t) => {
    const link = await insertLink()
    const all = await atOnce(7, (n) => record(link, `${n}`, newImage('pending')))
    for (const _ of all)
      await imageLeases.settle((await leaseOne())!, { status: 'failed', failure: 'it crashes' })
    await record(link, 'ready')
    await sql`update images set due_at = null`
    const request = { status: 'failed' as const, limit: 3 }
    const batches = []
    for (let batch = ['']; batch.length > 0; batches.push(batch)) batch = await imageLeases.requeue(request)
    t.strictSame(
      batches.map(({ length }) => length),
      [3, 3, 1, 0],
    )
    t.strictSame(batches.flat().sort(), all.sort())
    t.equal(await imageLeases.waiting(), 7)
  })

  t.test('an image that is removed during its lease stays removed', async (t) => {
    const id = await record(await insertLink(), 'a', newImage('pending'))
    const lease = await leaseOne()
    t.equal(await images.remove(id), true)
    const metadata = { format: 'PNG', mediaType: 'image/png' }
    t.equal(await imageLeases.settle(lease, { status: 'ready', metadata }), false)
    await imageLeases.release(lease, { milliseconds: 0, counts: 'attempt' })
    t.equal((await images.find(id))!.status, 'removed')
    t.equal(await leaseOne(), undefined)
  })
}
