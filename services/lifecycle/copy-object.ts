import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import type { LiveImage } from '../../stores/data/lifecycle.ts'
import { ObjectNotFound, type ObjectStore } from '../../stores/objects/object-store.ts'

/**
 * Copies the object of an image to another store, where it is read back: this resolves when its SHA-256 there is that
 * of the image. A copy that an earlier try left is taken as it is where it is whole.
 */
export async function copyObject(image: LiveImage, from: ObjectStore, to: ObjectStore): Promise<void> {
  if (await isWhole(image, to)) return
  await to.delete(image.id)
  if (await copy(image, from, to)) {
    if (await isWhole(image, to)) return
    await to.delete(image.id)
  }
  const whole = await isWhole(image, from)
  throw new Error(whole ? 'its copy has other bytes' : 'its object is gone, or has other bytes than came in')
}

/** False where there is nothing to copy. */
async function copy({ id }: LiveImage, from: ObjectStore, to: ObjectStore) {
  const source = await orUndefined(from.get(id))
  if (!source) return false
  const staged = await to.stage(id, source)
  await staged.commit()
  return true
}

async function isWhole({ id, hash }: LiveImage, store: ObjectStore) {
  const bytes = await orUndefined(store.get(id))
  if (!bytes) return false
  const sha256 = createHash('sha256')
  await pipeline(bytes, sha256)
  return sha256.digest('hex') === hash
}

const orUndefined = <T>(opening: Promise<T>) =>
  opening.catch((error) => {
    if (error instanceof ObjectNotFound) return undefined
    throw error
  })
