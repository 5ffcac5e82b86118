import type { Readable } from 'node:stream'
import type { Image, ImageFilter } from '../schemas/images.ts'
import type { ImageRow } from '../stores/data/images.ts'
import type { Stores } from '../stores/index.ts'
import { type ByteRange, ObjectNotFound } from '../stores/objects/object-store.ts'
import type { Cache } from './cache.ts'
import { fromPage, type PageQuery, toPageRequest } from './cursor.ts'
import { ImageGone, ImageNotFound } from './errors.ts'
import { isId } from './ids.ts'
import { showMetadata } from './metadata.ts'

export type Images = ReturnType<typeof createImages>

/** The images that have come in. */
export function createImages({
  stores: { data, objects },
  cache,
}: {
  stores: Stores
  cache: Cache<ImageRow>
}) {
  const counts = { served: 0 }

  async function find(id: string) {
    const row = isId(id) ? await data.images.find(id) : undefined
    if (!row) throw new ImageNotFound()
    return row
  }

  async function findServed(id: string) {
    const row = await find(id)
    if (row.removedAt) throw new ImageGone()
    cache.set(id, row)
    return row
  }

  return {
    counts,

    /**
     * Finds an image that can be served.
     *
     * @throws {ImageNotFound | ImageGone}
     */
    async open(id: string): Promise<ImageRow> {
      return cache.get(id) ?? findServed(id)
    },

    /**
     * Opens the bytes of an image, or a range of them.
     *
     * @throws {ImageGone} another process removed it since it was found
     */
    async read({ id }: ImageRow, range?: ByteRange): Promise<Readable> {
      try {
        const bytes = await objects.get(id, range)
        counts.served++
        return bytes
      } catch (error) {
        cache.delete(id)
        if (error instanceof ObjectNotFound) await findServed(id)
        throw error
      }
    },

    /** Newest first. @throws {InvalidCursor} */
    async list({ limit, cursor, ...filter }: PageQuery & ImageFilter) {
      return fromPage(await data.images.page({ ...toPageRequest({ limit, cursor }), filter }), showImage)
    },

    /** All that is known of an image, be it served or not. @throws {ImageNotFound} */
    async show(id: string) {
      return showImage(await find(id))
    },

    /** Removes an image for good. @throws {ImageNotFound | ImageGone} */
    async remove(id: string) {
      await find(id)
      const removed = await data.images.remove(id)
      cache.delete(id)
      if (!removed) throw new ImageGone()
      await objects.delete(id)
    },
  }
}

const showImage = ({
  id,
  hash,
  size,
  status,
  receivedAt,
  removedAt,
  failure,
  ...metadata
}: ImageRow): Image => ({
  id,
  hash,
  size,
  status,
  receivedAt: receivedAt.toISOString(),
  ...(removedAt && { removedAt: removedAt.toISOString() }),
  ...(failure !== null && { failure }),
  ...showMetadata(metadata),
})
