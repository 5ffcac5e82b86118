import { setTimeout as sleep } from 'node:timers/promises'
import type { Stores } from '../../stores/index.ts'
import { adoptStores } from '../../stores/installation.ts'
import { TRASH } from '../../stores/objects/object-store.ts'
import { createAnalysis } from '../analysis/index.ts'
import { isId } from '../ids.ts'
import { adoptObject } from '../lifecycle/adoption.ts'
import { NotEmpty } from './index.ts'

const POLL_MS = 200

export interface RebuildResult {
  objects: number
  /** Objects that became images. */
  images: number
  /** Objects that are not images, or have the content of another one. They are not changed. */
  skipped: number
  /** Objects that could not be read. */
  failed: string[]
  /** Images that still wait for a worker. */
  waiting: number
}

interface Log {
  info(context: object, message: string): void
  error(context: object, message: string): void
}

/**
 * Makes a new database from the object stores alone: each object becomes an image with its hash and size. Then their
 * metadata are read, like after an upload. The time of an image is the time of its object. The stores do not record which
 * images were private, so all of them become private, unless `isPublic`.
 *
 * @param stores opened without the check of the installation
 * @throws {NotEmpty}
 */
export async function rebuild(
  stores: Stores,
  {
    signal,
    log,
    shared,
    isPublic = false,
    onProgress = () => {},
  }: {
    signal: AbortSignal
    log: Log
    /** False: equal contents are several images (HIDE_DUPLICATES). */
    shared: boolean
    isPublic?: boolean
    onProgress?: (done: number) => void
  },
): Promise<RebuildResult> {
  if (!(await stores.data.dump.isEmpty()))
    throw new NotEmpty(
      'The database has images or links. Rebuild into a new database: set another DATA_DIR or DATABASE_URL.',
    )
  await adoptStores(stores.data, stores.objects)
  const result: RebuildResult = { objects: 0, images: 0, skipped: 0, failed: [], waiting: 0 }
  for (const { location, store } of stores.objects.all) {
    for await (const { key, modifiedAt } of store.list()) {
      signal.throwIfAborted()
      const id = key.startsWith(TRASH) ? key.slice(TRASH.length) : key
      if (!isId(id)) continue
      onProgress(++result.objects)
      try {
        const candidate = { location, id, key, receivedAt: modifiedAt, shared, isPrivate: !isPublic }
        if (await adoptObject({ stores, dryRun: false }, candidate)) result.images++
        else result.skipped++
      } catch (error) {
        log.error({ err: error, imageId: id }, 'an object could not be read')
        result.failed.push(id)
      }
    }
  }
  await analyseAll(stores, log, signal)
  return { ...result, waiting: await stores.data.imageLeases.waiting() }
}

/** Analyses the waiting images in this process, until none waits. */
async function analyseAll(stores: Stores, log: Log, signal: AbortSignal) {
  const done = new AbortController()
  const running = createAnalysis({ stores, log }).run(AbortSignal.any([signal, done.signal]))
  while (!signal.aborted && (await stores.data.imageLeases.waiting()) > 0)
    await sleep(POLL_MS, undefined, { signal }).catch(() => {})
  done.abort()
  await running
}
