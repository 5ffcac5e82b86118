import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { ByteRange } from '../../schemas/byte-range.ts'
import type { ServedRow } from '../../stores/data/interfaces/images.ts'
import type { Stores } from '../../stores/index.ts'
import {
  ObjectNotFound,
  type ObjectStore,
  type ReadOptions,
  readsWhole,
  WrongSize,
} from '../../stores/objects/object-store.ts'
import type { ByteCache } from './byte-cache.ts'

// An image up to this size is read as a whole. A slow client then holds no more memory than with a stream.
const SMALL_BYTES = 256 * 1024

/** An object with the bytes of an image or a variant: its key, size and location. */
export type StoredBytes = Pick<ServedRow, 'id' | 'size' | 'region' | 'tier'>

export type Content = ReturnType<typeof createContent>

/**
 * The bytes of images: from memory, or from the store that has them.
 *
 * @param refind reads an image's row again, after its object was not found
 */
export function createContent({
  objects,
  byteCache,
  refind,
}: {
  objects: Stores['objects']
  byteCache: ByteCache
  refind: (id: string) => Promise<StoredBytes>
}) {
  /** Opens the bytes as a stream. @throws {ImageGone} another process has removed the image */
  const open = (row: StoredBytes, range?: ByteRange, options?: ReadOptions): Promise<Readable> =>
    readObject(objects, row, (store) => store.get(row.id, range, options), refind)

  async function readSmall(row: StoredBytes, range?: ByteRange) {
    const bytes = await readObject(objects, row, (store) => readWhole(store, row), refind)
    byteCache.offer(row.id, bytes)
    return cut(bytes, range)
  }

  return {
    open,

    /**
     * Reads the bytes to send them to one client: those of a small image at once, others as a stream.
     *
     * @throws {ImageGone} another process has removed the image
     */
    read(row: StoredBytes, range?: ByteRange): Buffer | Promise<Readable | Buffer> {
      if (row.size > SMALL_BYTES) return open(row, range, { reuse: true })
      const cached = byteCache.get(row.id)
      return cached ? cut(cached, range) : readSmall(row, range)
    },
  }
}

/** Reads an object from the store that the row names. If it is missing, the sweep may have moved it: the row is read again. */
export async function readObject<T>(
  objects: Stores['objects'],
  row: StoredBytes,
  read: (store: ObjectStore) => Promise<T>,
  refind: (id: string) => Promise<StoredBytes>,
): Promise<T> {
  try {
    return await read(objects.at(row))
  } catch (error) {
    if (!(error instanceof ObjectNotFound)) throw error
    const current = await refind(row.id)
    if (current.tier === row.tier) throw error
    return read(objects.at(current))
  }
}

async function readWhole(store: ObjectStore, { id, size }: StoredBytes) {
  if (readsWhole(store)) return store.readWhole(id, size)
  const bytes = await buffer(await store.get(id))
  if (bytes.length !== size) throw new WrongSize(id, size)
  return bytes
}

const cut = (bytes: Buffer, range?: ByteRange) => (range ? bytes.subarray(range.start, range.end + 1) : bytes)
