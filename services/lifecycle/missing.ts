import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import type { Listing } from './listing.ts'
import { BATCH, hasObject, inBatches, PARALLEL, type SweepContext } from './sweep-context.ts'

/** If this many objects are missing, the store is probably the wrong one. */
const MAX_MISSING = 1_000

/** Logs and counts images whose object is missing. */
export async function reportMissing(context: SweepContext, { mayHave }: Listing) {
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
        `The objects of ${summary.missing} images or more are missing. Check that OBJECT_STORE_URL is the right store.`,
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
