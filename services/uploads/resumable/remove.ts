import type { ResumableRow } from '../../../stores/data/interfaces/resumable-uploads.ts'
import type { Stores } from '../../../stores/index.ts'
import {
  type Appendable,
  isAppendable,
  type ObjectStore,
  type UnfinishedObject,
} from '../../../stores/objects/object-store.ts'

/** The store of an unfinished upload. */
export function storeOf(
  { objects }: Stores,
  { region }: Pick<ResumableRow, 'region'>,
): ObjectStore & Appendable {
  const store = objects.at({ region, tier: 'hot' })
  if (!isAppendable(store)) throw new Error('The object store cannot append.')
  return store
}

/** The state of an upload for its store. */
export const unfinishedOf = (
  store: Appendable,
  { imageId, size, details }: ResumableRow,
): UnfinishedObject => (details ? { key: imageId, size, details } : store.begin(imageId))

/** Deletes the bytes of an upload that was not recorded. The caller must be its writer. */
export async function removeBytes(stores: Stores, row: ResumableRow) {
  const store = storeOf(stores, row)
  await store.abandon(unfinishedOf(store, row))
  // An attempt to complete the upload may have made the object.
  await store.delete(row.imageId)
}
