import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../../config.ts'
import type { VerifyState } from '../../schemas/verify.ts'
import type { ObjectFault } from '../../stores/data/interfaces/images.ts'
import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import type { StoredVariant } from '../../stores/data/interfaces/variants.ts'
import type { Stores } from '../../stores/index.ts'
import { ObjectNotFound, type ObjectStore } from '../../stores/objects/object-store.ts'
import type { StorageLocation } from '../../stores/storage-location.ts'
import { StoreUnavailable } from '../../stores/unavailable.ts'
import { copyObject } from './copy-object.ts'
import type { Log } from './sweep-context.ts'

const JOB = 'verify'
const BATCH = 100
/** The progress is stored this often. After a kill, at most this much is read again. */
const SAVE_MS = 30_000
/** How often a worker looks whether a pass is due. */
const LOOK_MS = 10 * 60_000

export type VerifyConfig = Pick<Config, 'verifyEvery' | 'verifyRate'>

interface Parts {
  stores: Stores
  log: Log
  config: VerifyConfig
}

/**
 * The verification of stored objects. Storage can damage an object without an error: a pass reads each object, slowly, and
 * compares its SHA-256 with the one that was received.
 */
export interface Verify {
  /**
   * Continues the pass that was interrupted, or starts one. Resolves with the state at its end, or with undefined if another
   * process verifies. The progress is in the database.
   *
   * @param rate bytes per second; that of the configuration by default
   * @param onProgress called after each object
   * @throws the reason of `signal`, if it was aborted before the end: the next pass continues
   * @throws {StoreUnavailable} a store does not answer: the next pass continues
   */
  pass(options: {
    signal: AbortSignal
    rate?: number
    onProgress?: (state: VerifyState) => void
  }): Promise<VerifyState | undefined>

  /** Runs a pass every VERIFY_EVERY, until `signal` is aborted. All workers have this timer, and one of them works. */
  verifyPeriodically(signal: AbortSignal, look?: number): Promise<void>
}

export function createVerify(parts: Parts): Verify {
  return {
    pass: (options) => runPass(parts, options),
    verifyPeriodically: (signal, look = LOOK_MS) => verifyPeriodically(parts, signal, look),
  }
}

/** The state of the current or the last pass; undefined if there was none. */
export async function readVerifyState({ data }: Pick<Stores, 'data'>): Promise<VerifyState | undefined> {
  return (await data.jobState.read(JOB))?.value as VerifyState | undefined
}

async function verifyPeriodically(parts: Parts, signal: AbortSignal, look: number) {
  while (!signal.aborted) {
    try {
      const last = await readVerifyState(parts.stores)
      if (isDue(last, parts.config, Date.now())) await runPass(parts, { signal })
    } catch (error) {
      if (!signal.aborted)
        parts.log.error({ err: error }, 'the verification was interrupted and continues later')
    }
    await sleep(look * (0.9 + Math.random() / 5), undefined, { signal }).catch(() => {})
  }
}

const isDue = (last: VerifyState | undefined, { verifyEvery }: VerifyConfig, now: number) =>
  !last?.finishedAt || Date.parse(last.startedAt) + verifyEvery <= now

async function runPass(parts: Parts, { signal, rate, onProgress }: Parameters<Verify['pass']>[0]) {
  const { stores, log } = parts
  const done = await stores.data.withLease(JOB, async (held) => {
    const state = await openState(stores)
    const ended = AbortSignal.any([signal, held.signal])
    const save = () => stores.data.jobState.save(JOB, state)
    try {
      await readAll({
        ...parts,
        state,
        signal: ended,
        rate: rate ?? parts.config.verifyRate,
        onProgress,
        save,
      })
      state.finishedAt = new Date().toISOString()
    } finally {
      await save()
    }
    report(state, log)
    return state
  })
  return done?.result
}

async function openState(stores: Stores): Promise<VerifyState> {
  const last = await readVerifyState(stores)
  const images = { after: '', images: 0, bytes: 0, mismatches: 0, missing: 0, restored: 0, recovered: 0 }
  const variants = { afterVariant: '', variants: 0, removedVariants: 0 }
  // An earlier release has stored a state without variants.
  if (last && !last.finishedAt) return { ...variants, ...last }
  return { startedAt: new Date().toISOString(), ...images, ...variants }
}

function report(state: VerifyState, log: Log) {
  const { after: _, afterVariant: _key, ...shown } = state
  if (state.mismatches + state.missing > 0)
    log.error(shown, 'the verification found objects that are damaged or missing')
  else log.info(shown, 'the verification found no damaged object')
}

interface Pass extends Parts {
  state: VerifyState
  signal: AbortSignal
  /** Bytes per second. */
  rate: number
  onProgress: ((state: VerifyState) => void) | undefined
  save(): Promise<void>
}

/**
 * Reads the objects of the images in the order of their ids, then those of the variants in the order of their keys. The next
 * pass may be the first one that reads an image or a variant which is added during this pass.
 */
async function readAll(pass: Pass) {
  const { state, stores } = pass
  await readEach(pass, {
    next: () => stores.data.lifecycle.after(state.after, BATCH),
    async read(image) {
      await verify(pass, image)
      state.after = image.id
    },
  })
  await readEach(pass, {
    next: () => stores.data.variants.after(state.afterVariant, BATCH),
    async read(variant) {
      await verifyVariant(pass, variant)
      state.afterVariant = variant.objectKey
    },
  })
}

/** Reads batches until there is none, and saves the progress. */
async function readEach<Row>(
  pass: Pass,
  { next, read }: { next(): Promise<Row[]>; read(row: Row): Promise<void> },
) {
  let savedAt = performance.now()
  for (let rows = await next(); rows.length > 0; rows = await next()) {
    for (const row of rows) {
      pass.signal.throwIfAborted()
      await read(row)
      pass.onProgress?.(pass.state)
      if (performance.now() - savedAt < SAVE_MS) continue
      await pass.save()
      savedAt = performance.now()
    }
  }
}

/** Removes a variant whose object is damaged or missing: the next request makes it again. */
async function verifyVariant(pass: Pass, { objectKey: id, hash, imageId, region }: StoredVariant) {
  const { stores, state, log } = pass
  state.variants++
  const store = stores.objects.find({ region, tier: 'hot' })
  if (!store || !(await examine(pass, store, { id, hash }))) return
  const isRemoved = await stores.data.variants.remove(id)
  await store.delete(id)
  if (!isRemoved) return // It was removed in the meantime.
  state.removedVariants++
  log.warn({ imageId }, 'a variant whose object was damaged or missing was removed: it is made again')
}

/** The fault of an object in a store; undefined if the store has the right object. */
type Fault = ObjectFault | undefined

async function verify(pass: Pass, image: LiveImage) {
  const { stores, state } = pass
  state.images++
  const store = stores.objects.find(image)
  // A region that is not configured here: the sweep reports it.
  if (!store) return
  let fault = await examine(pass, store, image)
  if (fault) {
    // It may have been removed or moved in the meantime, or the read was disturbed.
    const current = await currentRow(stores, image)
    if (!current) return
    fault = await examine(pass, stores.objects.at(current), current)
    if (fault && (await restore(pass, current))) return
  }
  await mark(pass, image, fault)
}

const currentRow = async ({ data }: Stores, { id }: LiveImage) => (await data.lifecycle.find([id]))[0]

/** Reads an object at the rate of the pass. */
async function examine(
  pass: Pass,
  store: ObjectStore,
  { id, hash }: Pick<LiveImage, 'id' | 'hash'>,
): Promise<Fault> {
  const sha256 = createHash('sha256')
  try {
    for await (const chunk of (await store.get(id)) as AsyncIterable<Buffer>) {
      sha256.update(chunk)
      pass.state.bytes += chunk.length
      await slowDown(pass, chunk.length)
    }
  } catch (error) {
    if (error instanceof ObjectNotFound) return 'missing'
    if (error instanceof StoreUnavailable || pass.signal.aborted) throw error
    // The disk reports an error for this file.
    pass.log.error({ err: error, imageId: id }, 'an object cannot be read')
    return 'mismatch'
  }
  return sha256.digest('hex') === hash ? undefined : 'mismatch'
}

const slowDown = ({ rate, signal }: Pass, bytes: number) =>
  sleep((bytes / rate) * 1000, undefined, { signal }).catch(() => signal.throwIfAborted())

/** Restores an object from the other store of its region, if that has the right one. */
async function restore(pass: Pass, image: LiveImage): Promise<boolean> {
  const { stores, state, log } = pass
  for (const { location, store } of stores.objects.all) {
    if (!isOther(location, image) || (await examine(pass, store, image))) continue
    try {
      await copyObject(image, store, stores.objects.at(image))
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error
      log.error({ err: error, imageId: image.id }, 'a damaged object could not be restored')
      continue
    }
    await stores.data.images.markFault(image.id, null)
    state.restored++
    log.error({ imageId: image.id }, 'a damaged or missing object was restored from the other store')
    return true
  }
  return false
}

const isOther = ({ region, tier }: StorageLocation, image: LiveImage) =>
  region === image.region && tier !== image.tier

/** Marks an image whose object has a fault, and removes the mark of one whose object is right again. */
async function mark({ stores, state, log }: Pass, { id: imageId }: LiveImage, fault: Fault) {
  const before = await stores.data.images.markFault(imageId, fault ?? null)
  if (before === undefined) return // removed
  if (!fault) {
    if (before) state.recovered++
    return
  }
  state[fault === 'missing' ? 'missing' : 'mismatches']++
  log.error(
    { imageId, fault },
    fault === 'missing'
      ? 'the object of an image is missing'
      : 'the object of an image is damaged: its SHA-256 is not the one that was received',
  )
}
