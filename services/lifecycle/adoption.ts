import { createHash } from 'node:crypto'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { trashKey } from '../../stores/objects/object-store.ts'
import type { StorageLocation } from '../../stores/storage-location.ts'
import type { Listing } from './listing.ts'
import type { SweepContext } from './sweep-context.ts'

/**
 * Makes images of objects that have none, in the trash too: after a restore of an older database, they are the images that
 * were uploaded since the backup. Each object is read, for its SHA-256, size and format. Its image is pending, so that a
 * worker reads the metadata. Objects that are not images, and copies of images that exist, are not adopted.
 */
export async function adoptOrphans(context: SweepContext, { strays, trash }: Listing) {
  const candidates = [
    ...strays
      .filter(({ kind }) => kind === 'orphans')
      .map(({ location, key }) => ({ location, id: key, key })),
    ...trash.filter(({ row }) => !row).map(({ location, id }) => ({ location, id, key: trashKey(id) })),
  ]
  for (const candidate of candidates) {
    context.check()
    try {
      if (await adoptObject(context, candidate)) context.summary.adopted++
    } catch (error) {
      context.log.error({ err: error, imageId: candidate.id }, 'an object could not be adopted')
    }
  }
}

/**
 * Makes an image of an object, which may be in the trash. False if it is not an image, or if there is an image with this id
 * or this content.
 */
export async function adoptObject(
  { stores, dryRun }: Pick<SweepContext, 'stores' | 'dryRun'>,
  {
    location,
    id,
    key,
    ...more
  }: {
    location: StorageLocation
    id: string
    key: string
    receivedAt?: Date
    shared?: boolean
    isPrivate?: boolean
  },
) {
  const store = stores.objects.at(location)
  const { head, ...content } = await examine(await store.get(key))
  const format = await sniff(head)
  if (!format) return false
  if (dryRun) return true
  // The object must exist before its row.
  if (key !== id) await store.rename(key, id)
  const image = { ...more, id, ...content, region: location.region, tier: location.tier, ...format }
  if (await stores.data.lifecycle.adopt(image)) {
    stores.queue.announce(id)
    return true
  }
  if (key !== id) await store.rename(id, key)
  return false
}

/** The SHA-256, the size and the first bytes of an object. */
async function examine(object: AsyncIterable<Buffer>) {
  const sha256 = createHash('sha256')
  const front: Buffer[] = []
  let size = 0
  for await (const chunk of object) {
    if (size < HEAD_BYTES) front.push(Buffer.from(chunk.subarray(0, HEAD_BYTES - size)))
    sha256.update(chunk)
    size += chunk.length
  }
  return { hash: sha256.digest('hex'), size, head: Buffer.concat(front) }
}
