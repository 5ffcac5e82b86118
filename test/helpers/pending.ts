import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { newId } from '../../services/ids.ts'
import { openDataStore } from '../../stores/data/index.ts'
import { isRefusal } from '../../stores/data/interfaces/uploads.ts'
import type { Lease, Queue } from '../../stores/queue/queue.ts'
import { dataDirWithLentDatabase } from './embedded.ts'
import { newLink } from './links.ts'

export const ready = {
  status: 'ready' as const,
  metadata: { format: 'PNG', mediaType: 'image/png', width: 3, height: 2 },
}

/** An embedded data store with a way to have pending images in it. */
export async function pendingImages(t: Test) {
  const data = await openDataStore(
    { dataDir: await dataDirWithLentDatabase(t), databaseUrl: undefined },
    { attach: true },
  )
  t.teardown(() => data.close())
  const { images, imageLeases, links, uploads } = data
  const link = await links.insert(newLink())

  /** Records the upload of a new image that is not analysed, and returns its id. */
  async function upload(by = link) {
    const hash = createHash('sha256').update(randomUUID()).digest('hex')
    const recorded = await uploads.record(
      { link: by, startedAt: new Date(), name: '', hash, size: 4_000_000 },
      { id: newId(), status: 'pending', metadata: { format: 'PNG', mediaType: 'image/png' } },
    )
    if (isRefusal(recorded)) throw new Error(recorded)
    return recorded.id
  }

  /** A worker: takes and settles images until `signal` is aborted, and adds the id of each that it settled to `settled`. */
  async function work(
    queue: Queue,
    signal: AbortSignal,
    settled: string[],
    analysis = async (_: Lease) => {},
  ) {
    for (;;) {
      const lease = await queue.take(signal)
      if (!lease) return
      await analysis(lease)
      if (await imageLeases.settle(lease, ready)) settled.push(lease.imageId)
      queue.done(lease)
    }
  }

  const statusOf = async (id: string) => (await images.find(id))?.status

  /** Takes what is left of a test that failed, so that the next one does not. */
  const clear = () =>
    data.sql`update images set status = 'failed', due_at = null, lease = null where status = 'pending'`

  return { data, upload, work, statusOf, clear }
}

/** Resolves when `condition` holds, and rejects when that takes longer than `milliseconds`. */
export async function until(condition: () => boolean | Promise<boolean>, milliseconds = 10_000) {
  const end = Date.now() + milliseconds
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not so in ${milliseconds} ms: ${condition}`)
    await sleep(20)
  }
}
