import type { Removed } from '../../stores/data/interfaces/lifecycle.ts'
import { lastAccessTolerance } from '../images/last-access.ts'
import { removeVariants } from '../variants/remove.ts'
import { LIMIT, type SweepContext } from './sweep-context.ts'

/** Removes images that a worker found corrupt longer than CORRUPT_GRACE ago. */
export async function removeCorrupt(context: SweepContext) {
  const { config, dryRun, summary } = context
  const { lifecycle } = context.stores.data
  const old = { milliseconds: config.corruptGrace, limit: LIMIT }
  const images = await (dryRun ? lifecycle.corrupt(old) : lifecycle.removeCorrupt(old))
  summary.corrupt = images.length
  if (!dryRun) await deleteObjects(context, images)
}

/** Removes images that were neither accessed nor uploaded again in DELETE_AFTER. */
export async function removeNotAccessed(context: SweepContext) {
  const { config, dryRun, summary } = context
  const { lifecycle } = context.stores.data
  if (config.deleteAfter === undefined) return
  const old = { milliseconds: config.deleteAfter + lastAccessTolerance(config), limit: LIMIT }
  const images = await (dryRun ? lifecycle.notAccessed(old) : lifecycle.removeNotAccessed(old))
  summary.notAccessed = images.length
  if (!dryRun) await deleteObjects(context, images)
}

/** Deletes the objects of removed images. If the process ends before, the remaining objects are orphans. */
async function deleteObjects({ stores }: SweepContext, images: Removed[]) {
  for (const { id, region } of images) for (const store of stores.objects.of(region)) await store.delete(id)
  await removeVariants(stores, images)
}
