import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Open, planWithoutMetadata, readPlan } from '../../formats/strip/index.ts'
import { CannotStrip, type Plan } from '../../formats/strip/plan.ts'
import type { ByteRange } from '../../schemas/byte-range.ts'
import type { Image, ImageFilter } from '../../schemas/images.ts'
import type { ImageRow, ServedRow } from '../../stores/data/data-store.ts'
import type { Stores } from '../../stores/index.ts'
import {
  ObjectNotFound,
  type ObjectStore,
  type ReadOptions,
  readsWhole,
} from '../../stores/objects/object-store.ts'
import type { ByteCache, Cache } from '../cache.ts'
import { fromPage, type PageQuery, toPageRequest } from '../cursor.ts'
import { ImageDamaged, ImageGone, ImageNotFound, MetadataNotRemovable } from '../errors.ts'
import { isId } from '../ids.ts'
import type { LastAccess } from './last-access.ts'
import { toImageSearch } from './search.ts'
import { showMetadata } from './show-metadata.ts'

/** Of what is taken out of a picture: with another number, clients and proxies ask for it anew. */
const STRIPPING_VERSION = 1
// A plan has some five pieces; of a film of many frames it is made each time, so that the cache stays small.
const MOST_CACHED_PIECES = 256
// What is no larger is read as a whole. A slow reader holds no more of it than of a stream.
const SMALL_BYTES = 256 * 1024

export type Images = ReturnType<typeof createImages>

/** The images that have come in. */
export function createImages({
  stores: { data, objects },
  cache,
  plans,
  bytes: byteCache,
  lastAccess,
}: {
  stores: Stores
  cache: Cache<ServedRow>
  /** How images are served without their metadata, by their ids. */
  plans: Cache<Promise<Plan>>
  /** The bytes of small images. They are served only while the image's row says that they may be. */
  bytes: ByteCache
  lastAccess: LastAccess
}) {
  const counts = { served: 0 }

  async function find<Row>(id: string, look: (id: string) => Promise<Row | undefined>) {
    const row = isId(id) ? await look(id) : undefined
    if (!row) throw new ImageNotFound()
    return row
  }

  async function findServed(id: string) {
    try {
      const row = await findKept(id)
      if (row.status === 'corrupt') throw new ImageDamaged()
      cache.set(id, row)
      return row
    } catch (error) {
      byteCache.delete(id)
      throw error
    }
  }

  /** Reads the object from where the row has it; where it was moved since, `refind` finds where to. */
  async function readObject<T>(
    row: ServedRow,
    read: (store: ObjectStore) => Promise<T>,
    refind: () => Promise<ServedRow>,
  ) {
    try {
      return await read(objects.at(row))
    } catch (error) {
      if (!(error instanceof ObjectNotFound)) throw error
      const now = await refind()
      if (now.tier === row.tier) throw error
      return read(objects.at(now))
    }
  }

  async function findKept(id: string) {
    const row = await find(id, data.images.findServed)
    if (row.removedAt) throw new ImageGone()
    return row
  }

  /** Reads what is served; what is gone or moved is forgotten, and found again. */
  const readServed = <T>(row: ServedRow, read: (store: ObjectStore) => Promise<T>) =>
    readObject(row, read, () => {
      cache.delete(row.id)
      return findServed(row.id)
    })

  const openServed = (row: ServedRow, range?: ByteRange, options?: ReadOptions) =>
    readServed(row, (store) => store.get(row.id, range, options))

  async function readSmall(row: ServedRow, range?: ByteRange) {
    const bytes = await readServed(row, (store) => readWhole(store, row))
    byteCache.offer(row.id, bytes)
    return cut(bytes, range)
  }

  async function planOf({ id, mediaType }: ServedRow, open: Open) {
    const known = plans.get(id)
    if (known) return known
    const planning = planWithoutMetadata(mediaType, open)
    plans.set(id, planning)
    planning.then(
      ({ pieces }) => pieces.length > MOST_CACHED_PIECES && plans.delete(id),
      (error) => error instanceof CannotStrip || plans.delete(id),
    )
    return planning
  }

  return {
    counts,

    /**
     * Finds an image that can be served.
     *
     * @throws {ImageNotFound | ImageGone | ImageDamaged}
     */
    open(id: string): ServedRow | Promise<ServedRow> {
      const note = (row: ServedRow) => {
        lastAccess.note(id)
        return row
      }
      const cached = cache.get(id)
      return cached ? note(cached) : findServed(id).then(note)
    },

    /**
     * Opens the bytes of an image, or a range of them, to be piped to a client (see `ReadOptions`). Those of a small one
     * come at once.
     *
     * @throws {ImageGone} another process removed it since it was found
     */
    read(row: ServedRow, range?: ByteRange): Buffer | Promise<Readable | Buffer> {
      const count = <T>(bytes: T) => {
        counts.served++
        return bytes
      }
      if (row.size > SMALL_BYTES) return openServed(row, range, { reuse: true }).then(count)
      const cached = byteCache.get(row.id)
      return cached ? count(cut(cached, range)) : readSmall(row, range).then(count)
    },

    /**
     * Opens an image for the admin, who sees also what is damaged. It does not count as asked for.
     *
     * @throws {ImageNotFound | ImageGone}
     */
    async inspect(id: string): Promise<{ row: ServedRow; bytes: Readable }> {
      const row = await findKept(id)
      return {
        row,
        bytes: await readObject(
          row,
          (store) => store.get(id),
          () => findKept(id),
        ),
      }
    },

    /**
     * Makes an image ready to be served without its metadata: `size` and `hash` are those of what is then served.
     *
     * @throws {MetadataNotRemovable | ImageGone}
     */
    async withoutMetadata(image: ServedRow) {
      const open: Open = (range) => openServed(image, range)
      const plan = await planOf(image, open).catch((error) => {
        if (!(error instanceof CannotStrip)) throw error
        throw new MetadataNotRemovable({ detail: `Of this one it can't be taken out: ${error.message}.` })
      })
      return {
        mediaType: image.mediaType,
        size: plan.size,
        hash: `${image.hash}-without-metadata-${STRIPPING_VERSION}`,
        async read(range?: ByteRange): Promise<Readable> {
          const bytes = await readPlan(plan, open, range)
          counts.served++
          return bytes
        },
      }
    },

    /** Newest first. @throws {InvalidCursor | InvalidFilter} */
    async list({ limit, cursor, ...filter }: PageQuery & ImageFilter) {
      const request = { ...toPageRequest({ limit, cursor }), search: toImageSearch(filter) }
      return fromPage(await data.images.page(request), showImage)
    },

    /** All that is known of an image, be it served or not. @throws {ImageNotFound} */
    async show(id: string) {
      return showImage(await find(id, data.images.find))
    },

    /** Removes an image for good. @throws {ImageNotFound | ImageGone} */
    async remove(id: string) {
      const { region } = await find(id, data.images.find)
      const removed = await data.images.remove(id)
      cache.delete(id)
      byteCache.delete(id)
      if (!removed) throw new ImageGone()
      // Wherever it lies: it may be on its way.
      await Promise.all(objects.of(region).map((store) => store.delete(id)))
    },
  }
}

const cut = (bytes: Buffer, range?: ByteRange) => (range ? bytes.subarray(range.start, range.end + 1) : bytes)

async function readWhole(store: ObjectStore, { id, size }: ServedRow) {
  if (readsWhole(store)) return store.readWhole(id, size)
  const bytes = await buffer(await store.get(id))
  if (bytes.length !== size) throw new Error(`the object ${id} has other than ${size} bytes`)
  return bytes
}

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
  hash,
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
