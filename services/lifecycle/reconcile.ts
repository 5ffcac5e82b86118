import { setTimeout as sleep } from 'node:timers/promises'
import { BloomFilter } from 'mnemonist'
import type { LiveImage } from '../../stores/data/data-store.ts'
import { ObjectNotFound, type StoredObject } from '../../stores/objects/object-store.ts'
import type { StorageLocation } from '../../stores/storage-location.ts'
import { isId, newId } from '../ids.ts'
import { inBatches, LIMIT, type SweepContext } from './sweep-context.ts'

/** How many keys one query to the database has. */
const BATCH = 1_000
/** How many requests to the stores are made at the same time. */
const PARALLEL = 16
/** An object is committed some milliseconds before its row. A stray object is deleted only if it still is one later. */
const SECOND_LOOK_MS = 60_000
/** If this many objects are missing, the store is probably the wrong one. */
const MAX_MISSING = 1_000
/** More orphans than this, and more than there are owned objects: the database is probably the wrong one. */
const SUSPICIOUS = 1_000
/** The filter needs 10 bits for each image: 25 MB at most. With more images, more missing objects are overlooked. */
const FILTER_CAPACITY = 20_000_000

/** An object that should not be in its store. */
interface Stray {
  kind: 'orphans' | 'leftovers' | 'copies'
  location: StorageLocation
  key: string
}

/** The result of listing all stores. */
interface Listing {
  strays: Stray[]
  /** How many objects are where the rows of their images say. */
  owned: number
  /** Whether the object of this image may have been listed; false is certain. */
  mayHave(id: string): boolean
}

/**
 * Compares the object stores with the database.
 *
 * Deletes objects that have no image, objects of images that are in another store, and unfinished uploads. Each must be
 * older than SWEEP_GRACE, and a second look must find the same. Reports images whose object is missing. Objects whose key
 * is not an id are not changed.
 */
export async function reconcile(context: SweepContext): Promise<void> {
  const listing = await listStores(context)
  await reportMissing(context, listing)
  await deleteStrays(context, listing)
}

/** Lists the stores in batches and asks the database for each batch. Only the stray objects are kept in memory. */
async function listStores({ stores, config, summary, check }: SweepContext): Promise<Listing> {
  const { lifecycle } = stores.data
  const before = (await lifecycle.now()).getTime() - config.sweepGrace
  const images = await lifecycle.count()
  const filter = new BloomFilter({
    capacity: Math.min(Math.max(images, BATCH), FILTER_CAPACITY),
    errorRate: 0.01,
  })
  // With another salt, each sweep overlooks other images.
  const salt = newId().slice(0, 8)
  const strays: Stray[] = []
  let owned = 0

  for (const { location, store } of stores.objects.all) {
    for await (const batch of inBatches(store.list(), BATCH)) {
      check()
      summary.objects += batch.length
      const rows = await rowsOf(stores, batch.map(({ key }) => key).filter(isId))
      for (const object of batch) {
        const { key } = object
        if (isIn(location, rows.get(key))) {
          owned++
          filter.add(salt + key)
          continue
        }
        const kind = kindOf(object, rows.get(key))
        if (kind && object.modifiedAt.getTime() < before && strays.length < LIMIT)
          strays.push({ kind, location, key })
      }
    }
  }
  return { strays, owned, mayHave: (id) => filter.test(salt + id) }
}

/** The images with these ids that are not removed, by id. */
const rowsOf = async ({ data }: SweepContext['stores'], ids: string[]) =>
  new Map((await data.lifecycle.find(ids)).map((row) => [row.id, row]))

const isIn = ({ region, tier }: StorageLocation, row: LiveImage | undefined) =>
  row?.region === region && row.tier === tier

/** Undefined for an object that is not Hasty's. */
function kindOf({ key }: StoredObject, row: LiveImage | undefined): Stray['kind'] | undefined {
  if (key.startsWith('incoming/')) return 'leftovers'
  if (!isId(key)) return undefined
  return row ? 'copies' : 'orphans'
}

async function deleteStrays(context: SweepContext, { strays, owned }: Listing) {
  const { stores, config, signal, dryRun, force, check } = context
  const orphans = strays.filter(({ kind }) => kind === 'orphans').length
  if (orphans > SUSPICIOUS && orphans > owned && !force) {
    throw new Error(
      `${orphans} objects or more have no image, and only ${owned} have one. Nothing was deleted. Is DATABASE_URL the ` +
        'right database, and not an old backup? If the objects can be deleted, run: npm run sweep -- --force',
    )
  }
  if (strays.length > 0 && !dryRun)
    await sleep(Math.min(config.sweepGrace, SECOND_LOOK_MS), undefined, { signal })

  for await (const batch of inBatches(strays, BATCH)) {
    const rows = await rowsOf(
      stores,
      batch.map(({ key }) => key),
    )
    for await (const some of inBatches(batch, PARALLEL)) {
      check()
      await Promise.all(some.map((stray) => deleteStray(context, stray, rows.get(stray.key))))
    }
  }
}

async function deleteStray(
  context: SweepContext,
  { kind, location, key }: Stray,
  row: LiveImage | undefined,
) {
  if (isIn(location, row)) return
  // The last copy of an image is never deleted.
  if (row && !(await hasObject(context, row))) return
  if (!context.dryRun) await context.stores.objects.at(location).delete(key)
  context.summary[kind]++
}

/** Logs and counts images whose object is missing. */
async function reportMissing(context: SweepContext, { mayHave }: Listing) {
  const { stores, summary, check } = context
  let unreachable = 0
  for (let id = '', rows: LiveImage[]; ; id = rows.at(-1)!.id) {
    check()
    rows = await stores.data.lifecycle.after(id, BATCH)
    if (rows.length === 0) break
    const unseen = rows.filter((row) => !mayHave(row.id))
    const reachable = unseen.filter((row) => stores.objects.find(row) !== undefined)
    unreachable += unseen.length - reachable.length
    await reportThoseMissing(context, reachable)
    if (summary.missing >= MAX_MISSING) {
      throw new Error(
        `The objects of ${summary.missing} images or more are missing. Is OBJECT_STORE_URL the right store?`,
      )
    }
  }
  if (unreachable > 0)
    throw new Error(
      `${unreachable} images are archived or in a region whose store is not configured. Add it to COLD_STORE_URL, ` +
        'OBJECT_STORE_URLS or COLD_STORE_URLS.',
    )
}

async function reportThoseMissing(context: SweepContext, images: LiveImage[]) {
  const { stores, summary, log } = context
  const missing: string[] = []
  for await (const some of inBatches(images, PARALLEL)) {
    const found = await Promise.all(some.map((row) => hasObject(context, row)))
    missing.push(...some.filter((_, n) => !found[n]).map((row) => row.id))
  }
  // Some may have been removed in the meantime.
  for (const { id: imageId } of await stores.data.lifecycle.find(missing)) {
    log.error({ imageId }, 'the object of an image is missing')
    summary.missing++
  }
}

/** Whether the object is complete in the store that the row names. */
async function hasObject({ stores }: SweepContext, row: LiveImage) {
  try {
    return (await stores.objects.find(row)?.size(row.id)) === row.size
  } catch (error) {
    if (error instanceof ObjectNotFound) return false
    throw error
  }
}
