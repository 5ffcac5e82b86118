import type postgres from 'postgres'
import t from 'tap'
import { newId } from '../../../services/ids.ts'
import type { DataStore } from '../../../stores/data/data-store.ts'
import { createImageLeases } from '../../../stores/data/image-leases.ts'
import { createImages } from '../../../stores/data/images.ts'
import { openDataStore } from '../../../stores/data/index.ts'
import { createLifecycle } from '../../../stores/data/lifecycle.ts'
import { createLinks } from '../../../stores/data/links.ts'
import { createStats } from '../../../stores/data/stats.ts'
import { callsWithin, once, repeatable } from '../../../stores/data/store-call.ts'
import { createSweeps } from '../../../stores/data/sweeps.ts'
import { createUploads } from '../../../stores/data/uploads.ts'
import { dataDirWithLentDatabase } from '../../helpers/embedded.ts'

const failure = (code: string) => Object.assign(new Error(`SQLSTATE ${code}`), { code })

t.test('a call is retried with its parameters', async (t) => {
  const tries: unknown[] = []
  const add = once(async (first: number, second: number) => {
    tries.push([first, second])
    if (tries.length < 3) throw failure('40001')
    return first + second
  })
  t.equal(await add(1, 2), 3)
  t.strictSame(tries, Array(3).fill([1, 2]))
  const fail = once(async () => {
    throw new TypeError('not this one')
  })
  await t.rejects(fail(), { name: 'TypeError' })
})

t.test('only a repeatable call is retried if it is not known whether it has happened', async (t) => {
  let tries = 0
  const failOnce = async () => {
    if (++tries === 1) throw failure('57P01')
    return 'done'
  }
  t.equal(await repeatable(failOnce)(), 'done')
  tries = 0
  await t.rejects(once(failOnce)(), { name: 'StoreUnavailable' })
  t.equal(tries, 1)
})

t.test('a call takes no longer than its deadline, and its late failure is handled', async (t) => {
  const late = Promise.withResolvers<string>()
  const wait = callsWithin(50).once(() => late.promise)
  await t.rejects(wait(), { name: 'StoreUnavailable', cause: { message: 'no result within 50 ms' } })
  late.reject(failure('57P01'))
  await new Promise(setImmediate)
})

t.test(
  'every read is repeated after its connection is lost, also the one that serves an image',
  async (t) => {
    const data = await openDataStore(
      { dataDir: await dataDirWithLentDatabase(t), databaseUrl: undefined },
      { attach: true },
    )
    t.teardown(() => data.close())
    let losses = 0
    let losing = false
    /** The same connections, but the first statement of each call is lost. */
    const lossy = new Proxy(data.sql, {
      apply(target, _this, parameters: Parameters<DataStore['sql']>) {
        const made = Reflect.apply(target, undefined, parameters) as postgres.PendingQuery<postgres.Row[]>
        // A fragment is part of another statement.
        if (!/^\s*(select|with)/.test(parameters[0][0] as string) || !losing) return made
        losing = false
        losses++
        return Promise.reject(failure('CONNECTION_CLOSED'))
      },
    })
    const id = newId()
    const old = { milliseconds: 1, limit: 1 }
    const [links, images, leases] = [createLinks(lossy), createImages(lossy), createImageLeases(lossy)]
    const [lifecycle, stats] = [createLifecycle(lossy), createStats(lossy)]
    const reads: Record<string, () => Promise<unknown>> = {
      'links.find': () => links.find(id),
      'links.findWithCounts': () => links.findWithCounts(id),
      'links.page': () => links.page({ limit: 1 }),
      'images.findServed': () => images.findServed(id),
      'images.find': () => images.find(id),
      'images.page': () => images.page({ limit: 1 }),
      'imageLeases.dueIn': () => leases.dueIn(id),
      'imageLeases.overdue': () => leases.overdue(old),
      'imageLeases.waiting': () => leases.waiting(),
      'imageLeases.oldestWaitingAge': () => leases.oldestWaitingAge(),
      'uploads.pageOfLink': () => createUploads(lossy).pageOfLink(id, { limit: 1 }),
      'stats.top': () => stats.top('format', 1),
      'stats.days': () => stats.days('2026-11-01', 30),
      'stats.stored': () => stats.stored(),
      'lifecycle.now': () => lifecycle.now(),
      'lifecycle.count': () => lifecycle.count(),
      'lifecycle.find': () => lifecycle.find([id]),
      'lifecycle.after': () => lifecycle.after(id, 1),
      'lifecycle.hotNotAccessed': () => lifecycle.hotNotAccessed({ ...old, regions: [''] }),
      'lifecycle.coldAccessedSince': () => lifecycle.coldAccessedSince({ ...old, regions: [''] }),
      'lifecycle.notAccessed': () => lifecycle.notAccessed(old),
      'lifecycle.corrupt': () => lifecycle.corrupt(old),
      'lifecycle.deadLeases': () => lifecycle.deadLeases(old),
      'lifecycle.daysToFold': () => lifecycle.daysToFold(1),
      'sweeps.last': () => createSweeps(lossy).last(),
      'sweeps.successes': () => createSweeps(lossy).successes(),
    }
    for (const [name, read] of Object.entries(reads)) {
      losing = true
      losses = 0
      await t.resolves(read(), name)
      t.equal(losses, 1, `${name}: the first statement was lost`)
    }
  },
)
