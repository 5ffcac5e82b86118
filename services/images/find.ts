import type { ImageStore, ServedRow } from '../../stores/data/interfaces/images.ts'
import type { Cache } from '../cache.ts'
import { ImageDamaged, ImageGone, ImageNotFound, ImageNotVerified } from '../errors.ts'
import { isId } from '../ids.ts'
import type { ByteCache } from './byte-cache.ts'
import { type Servable, toServable } from './representation.ts'

export interface FindOptions {
  images: Pick<ImageStore, 'findServed'>
  cache: Cache<Servable>
  bytes: ByteCache
  /** Whether an image is served only after it has been decoded. */
  servesOnlyVerified: boolean
  /** Whether all images are private. */
  servesOnlyPrivately: boolean
}

/** Whether a client may read private images. */
export type MayReadPrivate = () => Promise<boolean>

export type FindImage = ReturnType<typeof createFind>

/** Finds images that may be served. */
export function createFind({ images, cache, bytes, servesOnlyVerified, servesOnlyPrivately }: FindOptions) {
  const isPrivate = (row: ServedRow) => servesOnlyPrivately || row.private

  /**
   * Reads an image's row. A client without access gets the same error for a private image as for an unknown id,
   * whatever its status is.
   *
   * @throws {ImageNotFound | ImageGone}
   */
  async function readRow(id: string, mayReadPrivate: MayReadPrivate): Promise<ServedRow> {
    const row = isId(id) ? await images.findServed(id) : undefined
    // Also for an unknown id, so that the duration is the same.
    if ((!row || isPrivate(row)) && (!(await mayReadPrivate()) || !row)) throw new ImageNotFound()
    if (row.removedAt) throw new ImageGone()
    return row
  }

  async function readServable(id: string, mayReadPrivate: MayReadPrivate) {
    try {
      const row = await readRow(id, mayReadPrivate)
      if (row.status === 'corrupt') throw new ImageDamaged()
      if (servesOnlyVerified && !isVerified(row)) throw new ImageNotVerified()
      const servable = toServable(row, { isPrivate: isPrivate(row) })
      // A private image is looked up for each request, like an unknown id. So its removal ends signed URLs at once, and
      // the duration of a response does not show that it exists.
      if (!servable.isPrivate) cache.set(id, servable)
      return servable
    } catch (error) {
      bytes.delete(id)
      throw error
    }
  }

  return {
    readRow,

    /**
     * Finds an image that may be served now.
     *
     * @throws {ImageNotFound | ImageGone | ImageDamaged | ImageNotVerified}
     */
    find: (id: string, mayReadPrivate: MayReadPrivate): Servable | Promise<Servable> =>
      cache.get(id) ?? readServable(id, mayReadPrivate),

    /** Finds an image again whose object was not where its row said. */
    findAgain(id: string): Promise<Servable> {
      cache.delete(id)
      return readServable(id, async () => true)
    },
  }
}

const isVerified = ({ status, decoded }: ServedRow) => status === 'ready' && decoded
