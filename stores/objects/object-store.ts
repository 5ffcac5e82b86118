import type { Readable } from 'node:stream'

/** There is no object under the key. */
export class ObjectNotFound extends Error {
  override name = 'ObjectNotFound'
}

/** A part of an object, in bytes; `end` is the last byte, as in RFC 9110 §14. */
export interface ByteRange {
  start: number
  end: number
}

/**
 * Where the bytes of images are kept, each object under a key of letters and digits. An object is written once and
 * never changed.
 */
export interface ObjectStore {
  /**
   * Stores what `source` yields and resolves with its size in bytes when it is durable: only then does the object
   * exist. Where `source` fails, or the store does, it rejects with that error and nothing is left behind.
   */
  put(key: string, source: Readable): Promise<number>

  /**
   * Opens the object, or a range within it, for reading. Resolves when it is sure that the object is there.
   *
   * @throws {ObjectNotFound}
   */
  get(key: string, range?: ByteRange): Promise<Readable>

  /**
   * The object's size in bytes.
   *
   * @throws {ObjectNotFound}
   */
  size(key: string): Promise<number>

  /** Deletes the object. That there is none is no error. */
  delete(key: string): Promise<void>

  /** All that the store holds, whole objects and what cut-off writes left, in no order. */
  list(): AsyncIterable<StoredObject>

  /** Resolves when the store can be written to. */
  ping(): Promise<void>
}

export interface StoredObject {
  key: string
  /** Bytes. */
  size: number
  modifiedAt: Date
}

/** A store whose objects are files: what can read a file by its path need not copy it. */
export interface HasPaths {
  /** Where the object's file is. Whether it exists is not checked. */
  path(key: string): string
}

export const hasPaths = (store: ObjectStore): store is ObjectStore & HasPaths => 'path' in store
