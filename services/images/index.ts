import type { Readable } from 'node:stream'
import type { ImageFilter } from '../../schemas/images.ts'
import type { ServedRow } from '../../stores/data/interfaces/images.ts'
import type { Stores } from '../../stores/index.ts'
import type { Cache } from '../cache.ts'
import { fromPage, type PageQuery, toPageRequest } from '../cursor.ts'
import { ImageGone, ImageNotFound, InvalidFilter } from '../errors.ts'
import { isId } from '../ids.ts'
import { removeVariants } from '../variants/remove.ts'
import type { ByteCache } from './byte-cache.ts'
import { createContent, readObject } from './content.ts'
import { createFind } from './find.ts'
import type { LastAccess } from './last-access.ts'
import type { Plans } from './plans.ts'
import type { Servable } from './representation.ts'
import { toImageSearch } from './search.ts'
import { createServe } from './serve.ts'
import { showImage, showImageUpload } from './show-image.ts'

/** How many images one call removes at most, and how many of them at the same time. */
const REMOVE_LIMIT = 1_000
const REMOVE_BATCH = 20
const SHOWN_UPLOADS = 100

export type Images = ReturnType<typeof createImages>

export interface ImagesOptions {
  stores: Stores
  cache: Cache<Servable>
  plans: Plans
  /** The bytes of small images. They are served only while the image's row allows it. */
  bytes: ByteCache
  lastAccess: LastAccess
  /** Whether an image is served only after it has been decoded. */
  servesOnlyVerified?: boolean
  /** Whether all images are private. */
  servesOnlyPrivately?: boolean
}

/** The images that were received. */
export function createImages(options: ImagesOptions) {
  const { stores, cache, plans, bytes, lastAccess } = options
  const { data, objects } = stores
  const { servesOnlyVerified = false, servesOnlyPrivately = false } = options
  const finder = createFind({ images: data.images, cache, bytes, servesOnlyVerified, servesOnlyPrivately })
  const refind = async (id: string) => (await finder.findAgain(id)).row
  const content = createContent({ objects, byteCache: bytes, refind })
  const { serve, counts } = createServe({ find: finder.find, content, plans, lastAccess })
  const readAny = (id: string) => finder.readRow(id, async () => true)

  return {
    counts,
    serve,
    find: finder.find,

    /**
     * Opens an image for the admin, also a damaged one. This does not change the time of its last access.
     *
     * @throws {ImageNotFound | ImageGone}
     */
    async inspect(id: string): Promise<{ row: ServedRow; bytes: Readable }> {
      const row = await readAny(id)
      return { row, bytes: await readObject(objects, row, (store) => store.get(id), readAny) }
    },

    /** Newest first. @throws {InvalidCursor | InvalidFilter} */
    async list({
      limit,
      cursor,
      removed = true,
      ...filter
    }: PageQuery & ImageFilter & { removed?: boolean }) {
      const search = { ...toImageSearch(filter), isPresent: !removed }
      const request = { ...toPageRequest({ limit, cursor }), search }
      return fromPage(await data.images.page(request), showImage)
    },

    /** The name of the file that was uploaded first; undefined if it had none. */
    nameOf: (id: string) => data.uploads.nameOf(id),

    /** All stored data of an image and its last uploads, also of one that is not served. @throws {ImageNotFound} */
    async show(id: string) {
      const row = found(isId(id) ? await data.images.find(id) : undefined)
      const uploads = await data.uploads.ofImage(id, SHOWN_UPLOADS)
      return { ...showImage(row), uploads: uploads.map(showImageUpload) }
    },

    /** Finds an image that is not removed, in any status. @throws {ImageNotFound | ImageGone} */
    requirePresent: (id: string): Promise<ServedRow> => readAny(id),

    /**
     * Permanently removes up to 1,000 images that match a filter, the newest first. `isDone` if there are no more.
     *
     * @throws {InvalidFilter} the filter is empty, or wrong
     */
    async removeAll(filter: ImageFilter): Promise<{ removed: number; isDone: boolean }> {
      if (Object.keys(filter).length === 0)
        throw new InvalidFilter({
          detail: 'Send at least one filter, such as link. All images would be removed.',
        })
      const search = { ...toImageSearch(filter), isPresent: true }
      let removed = 0
      while (removed < REMOVE_LIMIT) {
        const { items, next } = await data.images.page({ limit: REMOVE_BATCH, search })
        await Promise.all(items.map(({ id }) => remove(id).catch(ignoreGone)))
        removed += items.length
        if (!next) return { removed, isDone: true }
      }
      return { removed, isDone: false }
    },

    /** Removes an image permanently. @throws {ImageNotFound | ImageGone} */
    remove,
  }

  async function remove(id: string) {
    const { region } = found(isId(id) ? await data.images.find(id) : undefined)
    const removed = await data.images.remove(id)
    for (const each of [cache, bytes, plans]) each.delete(id)
    if (!removed) throw new ImageGone()
    // In each store of the region, because the sweep may be moving it.
    await Promise.all(objects.of(region).map((store) => store.delete(id)))
    await removeVariants(stores, [{ id, region }])
  }
}

function ignoreGone(error: unknown) {
  if (!(error instanceof ImageGone)) throw error
}

function found<Row>(row: Row | undefined): Row {
  if (!row) throw new ImageNotFound()
  return row
}
