import { setTimeout as sleep } from 'node:timers/promises'
import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import { checkInstallation } from '../../stores/installation.ts'
import { trashKey } from '../../stores/objects/object-store.ts'
import type { StorageLocation } from '../../stores/storage-location.ts'
import { STORAGE_JOB } from '../storage.ts'
import { adoptOrphans } from './adoption.ts'
import { isIn, type Listing, listStores, liveVariants, type Stray } from './listing.ts'
import { reportMissing } from './missing.ts'
import { continuable } from './resumable.ts'
import { BATCH, hasObject, inBatches, PARALLEL, rowsOf, type SweepContext } from './sweep-context.ts'
import { emptyTrash } from './trash.ts'

/** An object is committed some milliseconds before its row. A stray object is changed only if it still is one later. */
const SECOND_LOOK_MS = 60_000
/** More orphans than this, and more than there are owned objects: the database is probably the wrong one. */
const MAX_SUSPICIOUS = 10

/**
 * Compares the object stores with the database.
 *
 * Moves objects that have no image to the trash, and deletes them from it after TRASH_FOR. Deletes objects of images that
 * are in another store, and unfinished uploads. Each must be older than SWEEP_GRACE, and a second look must confirm it.
 * Reports images whose object is missing. Objects whose key is not an id are not changed.
 */
export async function reconcile(context: SweepContext): Promise<void> {
  // Stores that did not respond when the process started were not checked.
  await checkInstallation(context.stores.data, context.stores.objects)
  const listing = await listStores(context)
  if (!context.dryRun) await context.stores.data.jobState.save(STORAGE_JOB, { stores: listing.use })
  await emptyTrash(context, listing)
  await reportMissing(context, listing)
  if (!context.dryRun) await context.stores.data.variants.removeOrphans()
  if (context.adopt) return adoptOrphans(context, listing)
  await clearStrays(context, listing)
}

async function clearStrays(context: SweepContext, { strays, orphans, owned }: Listing) {
  const { stores, config, signal, dryRun, force, check } = context
  if (orphans > MAX_SUSPICIOUS && orphans > owned && !force) {
    throw new Error(
      `${orphans} objects have no image, and only ${owned} have one. Nothing was moved to the trash. Check that ` +
        'DATABASE_URL is the right database and not an old backup. To make images of these objects, run: npm run sweep -- --adopt. To delete ' +
        'them, run: npm run sweep -- --force',
    )
  }
  if (strays.length > 0 && !dryRun)
    await sleep(Math.min(config.sweepGrace, SECOND_LOOK_MS), undefined, { signal })

  for await (const batch of inBatches(strays, BATCH)) {
    const rows = await rowsOf(
      stores,
      batch.map(({ key }) => key),
    )
    const kept = await continuable(
      context,
      batch.map(({ key }) => key),
    )
    const unowned = batch.filter(({ key }) => !kept.has(key))
    for await (const some of inBatches(unowned, PARALLEL)) {
      check()
      await Promise.all(some.map((stray) => clearStray(context, stray, rows.get(stray.key))))
    }
  }
}

/** Deletes the object of a variant that was removed, or whose process ended before its row was written. */
async function clearVariant(
  { stores, dryRun, summary }: SweepContext,
  location: StorageLocation,
  key: string,
) {
  if ((await liveVariants(stores, location, [key])).size > 0) return
  if (!dryRun) await stores.objects.at(location).delete(key)
  summary.variants++
}

async function clearStray(context: SweepContext, { kind, location, key }: Stray, row: LiveImage | undefined) {
  if (isIn(location, row)) return
  if (kind === 'variants') return clearVariant(context, location, key)
  // The last copy of an image is never deleted.
  if (row && !(await hasObject(context, row))) return
  const { stores, dryRun, summary } = context
  const store = stores.objects.at(location)
  // The row of a removed image is kept. Its object must not be kept in the trash.
  const isOrphan = kind === 'orphans' && !(await stores.data.images.find(key))
  if (!dryRun) await (isOrphan ? store.rename(key, trashKey(key)) : store.delete(key))
  summary[isOrphan || kind === 'copies' ? kind : 'leftovers']++
}
