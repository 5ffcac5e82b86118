import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import { ObjectNotFound, type ObjectStore } from '../../stores/objects/object-store.ts'

/**
 * Copies the object of an image to another store and reads it back. Resolves when the SHA-256 of the copy is the image's.
 * A complete copy of an earlier attempt is used.
 */
export async function copyObject(image: LiveImage, from: ObjectStore, to: ObjectStore): Promise<void> {
  if (await isComplete(image, to)) return
  await to.delete(image.id)
  if (await copy(image, from, to)) {
    if (await isComplete(image, to)) return
    await to.delete(image.id)
  }
  const complete = await isComplete(image, from)
  throw new Error(
    complete ? 'The copy has a wrong SHA-256.' : 'The object is missing, or its SHA-256 is wrong.',
  )
}

/** False if there is no object to copy. */
async function copy({ id }: LiveImage, from: ObjectStore, to: ObjectStore) {
  const source = await orUndefined(from.get(id))
  if (!source) return false
  const staged = await to.stage(id, source)
  await staged.commit()
  return true
}

async function isComplete({ id, hash }: LiveImage, store: ObjectStore) {
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
