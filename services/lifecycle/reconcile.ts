import { setTimeout as sleep } from 'node:timers/promises'
import { BloomFilter } from 'mnemonist'
import type { LiveImage } from '../../stores/data/lifecycle.ts'
import { ObjectNotFound, type StoredObject } from '../../stores/objects/object-store.ts'
import type { StorageLocation } from '../../stores/storage-location.ts'
import { isId, newId } from '../ids.ts'
import { inBatches, LIMIT, type SweepContext } from './sweep-context.ts'

const BATCH = 1_000
const PARALLEL = 16
// Between an object's commit and its row lie milliseconds. Who finds the one without the other looks again later.
const SECOND_LOOK_MS = 60_000
// So many may be missing before it is clear that the store is not the right one.
const MAX_MISSING = 1_000
// Fewer orphans than that are no reason to doubt that the database is the right one.
const SUSPICIOUS = 1_000
// The filter takes 10 bits for each: 25 MB at most. Where there are more images, more of what is missing goes unseen.
const FILTER_CAPACITY = 20_000_000

/** An object that should not be there. */
interface Stray {
  kind: 'orphans' | 'leftovers' | 'copies'
  location: StorageLocation
  key: string
}

/** What one look at the stores has seen. */
interface Look {
  strays: Stray[]
  /** Objects that are where their images have them. */
  owned: number
  /** Whether an image may be among these; false is sure. */
  mayHave(id: string): boolean
}

/**
 * Brings the object stores in line with the database.
 *
 * Objects go that belong to no image, or lie in another store than their image does, or are what is left of an upload
 * that was cut off; each only when it is older than `grace` milliseconds, and only when a second look finds the same.
 * Images whose object is gone are reported. What has no key of ours is left alone.
 */
export async function reconcile(
  context: SweepContext,
  { grace, force }: { grace: number; force: boolean },
): Promise<void> {
  const look = await lookAtObjects(context, grace)
  await reportMissing(context, look)
  await deleteStrays(context, look, { wait: Math.min(grace, SECOND_LOOK_MS), force })
}

/** Lists the stores, and asks the database for a batch of keys at a time: of the list, only what is stray is kept. */
async function lookAtObjects({ stores, summary, check }: SweepContext, grace: number): Promise<Look> {
  const { lifecycle } = stores.data
  const before = (await lifecycle.now()).getTime() - grace
  const images = await lifecycle.count()
  const filter = new BloomFilter({
    capacity: Math.min(Math.max(images, BATCH), FILTER_CAPACITY),
    errorRate: 0.01,
  })
  // What the filter takes for there by mistake is another image each time.
  const salt = newId().slice(0, 8)
  const strays: Stray[] = []
  let owned = 0

  for (const { location, store } of stores.objects.all) {
    for await (const batch of inBatches(store.list(), BATCH)) {
      check()
      summary.objects += batch.length
      const keys = batch.map(({ key }) => key).filter(isId)
      const rows = new Map((await lifecycle.find(keys)).map((row) => [row.id, row]))
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

const isIn = ({ region, tier }: StorageLocation, row: LiveImage | undefined) =>
  row?.region === region && row.tier === tier

function kindOf({ key }: StoredObject, row: LiveImage | undefined): Stray['kind'] | undefined {
  if (key.startsWith('incoming/')) return 'leftovers'
  if (!isId(key)) return undefined
  return row ? 'copies' : 'orphans'
}

async function deleteStrays(
  context: SweepContext,
  { strays, owned }: Look,
  { wait, force }: { wait: number; force: boolean },
) {
  const { summary, signal, dryRun, check } = context
  const orphans = strays.filter(({ kind }) => kind === 'orphans').length
  if (orphans > SUSPICIOUS && orphans > owned && !force) {
    throw new Error(
      `${orphans} objects or more belong to no image, and only ${owned} do. Is this the right database, and not one ` +
        'from an old back-up? Nothing was deleted. If they may go: npm run sweep -- --force',
    )
  }
  if (strays.length > 0 && !dryRun) await sleep(wait, undefined, { signal })

  for await (const batch of inBatches(strays, BATCH)) {
    const rows = new Map(
      (await context.stores.data.lifecycle.find(batch.map(({ key }) => key))).map((row) => [row.id, row]),
    )
    for await (const some of inBatches(batch, PARALLEL)) {
      check()
      await Promise.all(some.map((stray) => deleteStray(stray, rows.get(stray.key))))
    }
  }

  async function deleteStray({ kind, location, key }: Stray, row: LiveImage | undefined) {
    if (isIn(location, row)) return
    // The last copy of an image is never a stray one.
    if (row && !(await hasObject(context, row))) return
    if (!dryRun) await context.stores.objects.at(location).delete(key)
    summary[kind]++
  }
}

async function reportMissing(context: SweepContext, { mayHave }: Look) {
  const { stores, summary, log, check } = context
  const { lifecycle } = stores.data
  const isReachable = (row: LiveImage) => stores.objects.find(row) !== undefined
  let unreachable = 0
  for (let id = '', rows: LiveImage[]; ; id = rows.at(-1)!.id) {
    check()
    rows = await lifecycle.after(id, BATCH)
    if (rows.length === 0) break
    const unseen = rows.filter((row) => !mayHave(row.id))
    const lost: string[] = []
    for await (const some of inBatches(unseen.filter(isReachable), PARALLEL)) {
      const there = await Promise.all(some.map((row) => hasObject(context, row)))
      lost.push(...some.filter((_, n) => !there[n]).map((row) => row.id))
    }
    unreachable += unseen.filter((row) => !isReachable(row)).length
    // Some may have been removed by now.
    for (const { id: imageId } of await lifecycle.find(lost)) {
      log.error({ imageId }, 'the object of an image is gone')
      summary.missing++
    }
    if (summary.missing >= MAX_MISSING) {
      throw new Error(`${summary.missing} images or more have lost their objects. Is this the right store?`)
    }
  }
  if (unreachable > 0)
    throw new Error(
      `${unreachable} images are archived or in a region, but COLD_STORE_URL or OBJECT_STORE_URLS does not say where`,
    )
}

/** Whether the object is where the image has it. */
async function hasObject({ stores }: SweepContext, row: LiveImage) {
  try {
    return (await stores.objects.find(row)?.size(row.id)) === row.size
  } catch (error) {
    if (error instanceof ObjectNotFound) return false
    throw error
  }
}
