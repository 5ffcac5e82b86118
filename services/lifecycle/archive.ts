import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import type { Tier } from '../../stores/storage-location.ts'
import { lastAccessTolerance } from '../images/last-access.ts'
import { removeVariants } from '../variants/remove.ts'
import { copyObject } from './copy-object.ts'
import { LIMIT, type SweepContext } from './sweep-context.ts'

/** After this many images that can't be moved, the fault is probably the store's, and the step ends. */
const MAX_MOVE_FAILURES = 100

/** Moves images that nobody accessed in ARCHIVE_AFTER to the cold store. */
export async function archive(context: SweepContext) {
  const { stores, config } = context
  if (config.archiveAfter === undefined) return
  const images = await stores.data.lifecycle.hotNotAccessed({
    regions: stores.objects.archiving,
    milliseconds: config.archiveAfter + lastAccessTolerance(config),
    limit: LIMIT,
  })
  for (const image of images) await move(context, image, 'cold')
}

/** Moves images back that were accessed since. Without ARCHIVE_AFTER, it moves all images back. */
export async function restore(context: SweepContext) {
  const { stores, config } = context
  const images = await stores.data.lifecycle.coldAccessedSince({
    regions: stores.objects.archiving,
    milliseconds: config.archiveAfter,
    limit: LIMIT,
  })
  for (const image of images) await move(context, image, 'hot')
}

/**
 * Moves an object to the other store of its region: copy, read back, change the row, delete. If the process ends in
 * between, the row names a store that has the complete object. The other store has a copy, which is deleted when the
 * image is moved again, or by `reconcile`.
 */
async function move(context: SweepContext, image: LiveImage, to: Tier) {
  const { stores, dryRun, summary, log, check } = context
  check()
  const counter = to === 'cold' ? 'archived' : 'restored'
  if (dryRun) {
    summary[counter]++
    return
  }
  const from = stores.objects.at(image)
  try {
    await copyObject(image, from, stores.objects.at({ ...image, tier: to }))
  } catch (error) {
    log.error({ err: error, imageId: image.id }, 'an image could not be moved to the other store')
    if (++summary.moveFailures >= MAX_MOVE_FAILURES)
      throw new Error(`${summary.moveFailures} images could not be moved. Check the object stores.`)
    return
  }
  check()
  if (!(await stores.data.lifecycle.move(image.id, to))) return
  await from.delete(image.id)
  // Nobody requests them any more. They are made again if somebody does.
  if (to === 'cold') await removeVariants(stores, [image])
  summary[counter]++
}
