import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Verdict } from '../stores/data/images.ts'
import type { Stores } from '../stores/index.ts'
import { hasPaths, ObjectNotFound, type ObjectStore } from '../stores/objects/object-store.ts'
import { LEASE_MS, type Lease } from '../stores/queue/queue.ts'
import { NotAnImage, readMetadata } from './metadata.ts'

const MAX_ATTEMPTS = 3
const PAUSE_MS = 1_000

interface Log {
  info(context: object, message: string): void
  error(context: object, message: string): void
}

/** What a worker does: it takes pending images from the queue and finds out what they are. */
export function createAnalysis({ stores: { data, objects, queue }, log }: { stores: Stores; log: Log }) {
  return {
    /** Analyses one image after the other, until `signal` is aborted and the image in hand is done. */
    async run(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        try {
          const lease = await queue.take(signal)
          if (lease) await keeping(lease, () => analyse(lease))
        } catch (error) {
          // The database is away. The lease runs out, and the image comes again.
          log.error({ err: error }, 'analysis is held up')
          await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
        }
      }
    },
  }

  /** Extends the lease while `work` goes on. */
  async function keeping(lease: Lease, work: () => Promise<void>) {
    const extending = setInterval(() => queue.extend(lease).catch(() => {}), LEASE_MS / 3)
    await work().finally(() => clearInterval(extending))
  }

  async function analyse(lease: Lease) {
    const { imageId, attempt } = lease
    // It was leased before and never settled: each time, the process that had it died.
    if (attempt > MAX_ATTEMPTS) {
      await settle(lease, { status: 'failed', failure: `${MAX_ATTEMPTS} workers died of it` })
      return
    }
    try {
      const metadata = await withFile(objects, imageId, (path) => readMetadata({ path }, lease))
      await settle(lease, { status: 'ready', metadata })
    } catch (error) {
      const { message } = error as Error
      if (error instanceof NotAnImage) await settle(lease, { status: 'rejected', failure: message })
      else if (error instanceof ObjectNotFound || attempt === MAX_ATTEMPTS) {
        log.error({ err: error, imageId }, 'an image can not be analysed')
        await settle(lease, { status: 'failed', failure: message })
      } else await queue.retry(lease, message)
    }
  }

  async function settle(lease: Lease, verdict: Verdict) {
    const { imageId, attempt } = lease
    const settled = await data.images.settle(lease, verdict)
    queue.done(lease)
    if (!settled) return
    if (verdict.status === 'rejected') await objects.delete(imageId)
    log.info({ imageId, attempt, status: verdict.status }, 'analysed')
  }
}

/** Lets `work` read an object as a file: its own where the store has files, or else a copy for that time. */
async function withFile<T>(
  objects: ObjectStore,
  key: string,
  work: (path: string) => Promise<T>,
): Promise<T> {
  if (hasPaths(objects)) return work(objects.path(key))
  const folder = await mkdtemp(join(tmpdir(), 'hasty-'))
  try {
    const path = join(folder, key)
    await pipeline(await objects.get(key), createWriteStream(path, { mode: 0o600 }))
    return await work(path)
  } finally {
    await rm(folder, { recursive: true })
  }
}
