import { trashKey } from '../../stores/objects/object-store.ts'
import { isIn, type Listing, type Trashed } from './listing.ts'
import { hasObject, inBatches, PARALLEL, type SweepContext } from './sweep-context.ts'

/**
 * Deletes objects from the trash after TRASH_FOR. Moves an object back if its image has no other: the image's row was
 * missing when the object was moved to the trash, and is there again.
 */
export async function emptyTrash(context: SweepContext, { trash }: Listing) {
  for await (const some of inBatches(trash, PARALLEL)) {
    context.check()
    await Promise.all(some.map((trashed) => restoreOrDelete(context, trashed)))
  }
}

async function restoreOrDelete(context: SweepContext, { location, id, isExpired, row }: Trashed) {
  const { stores, summary, dryRun } = context
  const store = stores.objects.at(location)
  if (row && isIn(location, row) && !(await hasObject(context, row))) {
    if (!dryRun) await store.rename(trashKey(id), id)
    summary.trashRestored++
  } else if (isExpired) {
    if (!dryRun) await store.delete(trashKey(id))
    summary.trashDeleted++
  }
}
