import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Verdict } from '../../stores/data/images.ts'
import type { Stores } from '../../stores/index.ts'
import { hasPaths, ObjectNotFound, type ObjectStore } from '../../stores/objects/object-store.ts'
import { LEASE_MS, type Lease } from '../../stores/queue/queue.ts'
import { StoreUnavailable } from '../../stores/unavailable.ts'
import { createDecoder, type Decoder } from './decoder/index.ts'

const MAX_ATTEMPTS = 3
const PAUSE_MS = 1_000
// So long an image waits whose object can't be had. Others go first: it may be the only one.
const AWAY_MS = 5_000

interface Log {
  info(context: object, message: string): void
  error(context: object, message: string): void
}

/**
 * What a worker does: it takes images from the queue, finds out what they are and whether they can be decoded.
 *
 * @param concurrency how many at a time, each in a process of its own
 */
export function createAnalysis({
  stores: { data, objects, queue },
  accept,
  log,
  concurrency = availableParallelism(),
}: {
  stores: Stores
  /** The media types that are taken in; without it, all that are known. */
  accept?: ReadonlySet<string> | undefined
  log: Log
  concurrency?: number
}) {
  return {
    /** Analyses images until `signal` is aborted and those in hand are done. */
    async run(signal: AbortSignal): Promise<void> {
      await Promise.all(Array.from({ length: concurrency }, () => analyseAll(signal)))
    },
  }

  async function analyseAll(signal: AbortSignal) {
    const decoder = createDecoder()
    // A store is away. The lease was given back or runs out, and the image comes again.
    const heldUp = async (error: unknown) => {
      log.error({ err: error }, 'analysis is held up')
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
    }
    // While the verdict on one image is written, the decoder has the next one.
    let settling = Promise.resolve()
    while (!signal.aborted) {
      const lease = await queue.take(signal).catch(heldUp)
      if (!lease) continue
      const decoded = Promise.withResolvers<void>()
      const working = keeping(lease, () => analyse(lease, decoder, decoded.resolve))
        .catch(heldUp)
        .finally(decoded.resolve)
      await decoded.promise
      await settling
      settling = working
    }
    await settling
    await decoder.close()
  }

  /** Extends the lease while `work` goes on. */
  async function keeping(lease: Lease, work: () => Promise<void>) {
    const extending = setInterval(() => queue.extend(lease).catch(() => {}), LEASE_MS / 3)
    await work().finally(() => clearInterval(extending))
  }

  /** @param decoded is called when the decoder is free again */
  async function analyse(lease: Lease, decoder: Decoder, decoded: () => void) {
    const { imageId, attempt, format, mediaType } = lease
    // It was leased before and never settled: each time, the process that had it died.
    if (attempt > MAX_ATTEMPTS) {
      await settle(lease, { status: 'failed', failure: `${MAX_ATTEMPTS} workers died of it` })
      return
    }
    let verdict: Verdict
    try {
      verdict = await withFile(objects.at(lease), imageId, (path) =>
        decoder.examine({ path, format, mediaType }),
      )
    } catch (error) {
      if (error instanceof StoreUnavailable) {
        // That is no fault of the image, and so no attempt at it.
        await queue.release(lease, AWAY_MS)
        throw error
      }
      const { message } = error as Error
      if (!(error instanceof ObjectNotFound) && attempt < MAX_ATTEMPTS) return queue.retry(lease, message)
      log.error({ err: error, imageId }, 'an image can not be analysed')
      verdict = { status: 'failed', failure: message }
    }
    decoded()
    await settle(lease, unlessNotAccepted(lease, verdict))
  }

  /** What a file is may only be found here; what is ready was taken in when other media types were. */
  function unlessNotAccepted({ pending }: Lease, verdict: Verdict): Verdict {
    const mediaType = 'metadata' in verdict ? verdict.metadata?.mediaType : undefined
    return pending && mediaType && accept?.has(mediaType) === false
      ? { status: 'rejected', failure: `${mediaType} is not taken in here` }
      : verdict
  }

  async function settle(lease: Lease, verdict: Verdict) {
    const { imageId, attempt } = lease
    const settled = await data.images.settle(lease, verdict)
    queue.done(lease)
    if (!settled) return
    if (verdict.status === 'rejected') await objects.at(lease).delete(imageId)
    log.info({ imageId, attempt, status: verdict.status }, 'analysed')
  }
}

/** Lets `work` read an object as a file: its own where the store has files, or else a copy for that time. */
async function withFile<T>(store: ObjectStore, key: string, work: (path: string) => Promise<T>): Promise<T> {
  if (hasPaths(store)) return work(store.path(key))
  const folder = await mkdtemp(join(tmpdir(), 'hasty-'))
  try {
    const path = join(folder, key)
    await pipeline(await store.get(key), createWriteStream(path, { mode: 0o600 }))
    return await work(path)
  } finally {
    await rm(folder, { recursive: true })
  }
}
