import type { Readable } from 'node:stream'
import type { Image, ImageFilter } from '../../schemas/images.ts'
import type { ImageRow, ServedRow } from '../../stores/data/data-store.ts'
import type { Stores } from '../../stores/index.ts'
import type { Cache } from '../cache.ts'
import { fromPage, type PageQuery, toPageRequest } from '../cursor.ts'
import { ImageDamaged, ImageGone, ImageNotFound, ImageNotVerified } from '../errors.ts'
import { isId } from '../ids.ts'
import type { ByteCache } from './byte-cache.ts'
import { createContent, readObject } from './content.ts'
import type { LastAccess } from './last-access.ts'
import type { Plans } from './plans.ts'
import { type Servable, toServable } from './representation.ts'
import { toImageSearch } from './search.ts'
import { createServe } from './serve.ts'
import { showMetadata } from './show-metadata.ts'

export type Images = ReturnType<typeof createImages>

/** The images that were received. */
export function createImages({
  stores: { data, objects },
  cache,
  plans,
  bytes: byteCache,
  lastAccess,
  servesOnlyVerified = false,
}: {
  stores: Stores
  cache: Cache<Servable>
  plans: Plans
  /** The bytes of small images. They are served only while the image's row allows it. */
  bytes: ByteCache
  lastAccess: LastAccess
  /** Whether an image is served only after it has been decoded. */
  servesOnlyVerified?: boolean
}) {
  /** @throws {ImageNotFound | ImageGone} */
  async function findRow(id: string): Promise<ServedRow> {
    const row = found(isId(id) ? await data.images.findServed(id) : undefined)
    if (row.removedAt) throw new ImageGone()
    return row
  }

  /** @throws {ImageNotFound | ImageGone | ImageDamaged | ImageNotVerified} */
  async function readServable(id: string) {
    try {
      const servable = toServable(await findRow(id))
      if (servable.row.status === 'corrupt') throw new ImageDamaged()
      if (servesOnlyVerified && !isVerified(servable.row)) throw new ImageNotVerified()
      cache.set(id, servable)
      return servable
    } catch (error) {
      byteCache.delete(id)
      throw error
    }
  }

  const findServable = (id: string) => cache.get(id) ?? readServable(id)

  const content = createContent({
    objects,
    byteCache,
    async refind(id) {
      cache.delete(id)
      return (await readServable(id)).row
    },
  })
  const { serve, counts } = createServe({ findServable, content, plans, lastAccess })

  return {
    counts,
    serve,

    /**
     * Opens an image for the admin, also a damaged one. This does not change the time of its last access.
     *
     * @throws {ImageNotFound | ImageGone}
     */
    async inspect(id: string): Promise<{ row: ServedRow; bytes: Readable }> {
      const row = await findRow(id)
      return { row, bytes: await readObject(objects, row, (store) => store.get(id), findRow) }
    },

    /** Newest first. @throws {InvalidCursor | InvalidFilter} */
    async list({ limit, cursor, ...filter }: PageQuery & ImageFilter) {
      const request = { ...toPageRequest({ limit, cursor }), search: toImageSearch(filter) }
      return fromPage(await data.images.page(request), showImage)
    },

    /** All stored data of an image, also of one that is not served. @throws {ImageNotFound} */
    async show(id: string) {
      return showImage(found(isId(id) ? await data.images.find(id) : undefined))
    },

    /** Removes an image for good. @throws {ImageNotFound | ImageGone} */
    async remove(id: string) {
      const { region } = found(isId(id) ? await data.images.find(id) : undefined)
      const removed = await data.images.remove(id)
      for (const each of [cache, byteCache, plans]) each.delete(id)
      if (!removed) throw new ImageGone()
      // In each store of the region, because the sweep may be moving it.
      await Promise.all(objects.of(region).map((store) => store.delete(id)))
    },
  }
}

function found<Row>(row: Row | undefined): Row {
  if (!row) throw new ImageNotFound()
  return row
}

const isVerified = ({ status, decoded }: ServedRow) => status === 'ready' && decoded

const showImage = ({
  id,
  hash,
  size,
  status,
  region,
  tier,
  receivedAt,
  lastAccessedAt,
  removedAt,
  failure,
  ...metadata
}: ImageRow): Image => ({
  id,
  ...(hash && { hash }),
  size,
  status,
  ...(region && { region }),
  tier,
  receivedAt: receivedAt.toISOString(),
  lastAccessedAt: lastAccessedAt.toISOString(),
  ...(removedAt && { removedAt: removedAt.toISOString() }),
  ...(failure !== null && { failure }),
  ...showMetadata(metadata),
})
