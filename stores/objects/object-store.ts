import type { Readable } from 'node:stream'
import type { ByteRange } from '../../schemas/byte-range.ts'

/** There is no object under the key. */
export class ObjectNotFound extends Error {
  override name = 'ObjectNotFound'
}

/** There is no room left to write to. */
export class StoreFull extends Error {
  override name = 'StoreFull'
}

/**
 * Where the bytes of images are kept, each object under a key of letters and digits. An object is written once and
 * never changed. Any call may throw `StoreUnavailable`, and so may the reading of what it gave.
 */
export interface ObjectStore {
  /**
   * Takes in what `source` yields, and resolves when it has ended. The object is not there before `commit`: only then
   * is it known whether it is wanted. Where `source` fails, or the store does, it rejects with that error, `source` is
   * destroyed, and nothing is left behind.
   *
   * @throws {StoreFull}
   */
  stage(key: string, source: Readable): Promise<StagedObject>

  /**
   * Opens the object, or a range within it, for reading. Resolves when it is sure that the object is there.
   *
   * @throws {ObjectNotFound}
   */
  get(key: string, range?: ByteRange, options?: ReadOptions): Promise<Readable>

  /**
   * The object's size in bytes.
   *
   * @throws {ObjectNotFound}
   */
  size(key: string): Promise<number>

  /** Deletes the object, or what `list` has yielded. That there is none is no error. */
  delete(key: string): Promise<void>

  /**
   * All that the store holds, in no order: whole objects, and, under keys that begin with `incoming/`, what is not
   * committed yet or was left by a process that died.
   */
  list(): AsyncIterable<StoredObject>

  /** Resolves when the store can be written to. */
  ping(): Promise<void>
}

export interface ReadOptions {
  /**
   * Whoever reads is done with each piece when it asks for the next, as a socket is into which they are piped. Then all
   * of them may come in the same memory: made anew for each piece, it is what the garbage collector is busiest with.
   */
  reuse?: boolean
}

/** An object that was taken in whole. Whoever staged it calls one of the two, once. */
export interface StagedObject {
  /** All of it, where it is at hand without a request: in memory or in a file. It may be read until one of the two is called. */
  readonly content?: Buffer | { path: string }

  /**
   * Makes it durable and puts it under its key: what this has resolved for survives a power cut. Where it rejects,
   * nothing is left behind.
   *
   * @throws {StoreFull}
   */
  commit(): Promise<void>

  /** Throws it away. */
  discard(): Promise<void>
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

/** A store that reads a small object faster as a whole than as a stream. */
export interface ReadsWhole {
  /**
   * The object's bytes.
   *
   * @param size how many there are
   * @throws {ObjectNotFound}
   */
  readWhole(key: string, size: number): Promise<Buffer>
}

export const readsWhole = (store: ObjectStore): store is ObjectStore & ReadsWhole => 'readWhole' in store

/** A store that has something to be set up once, not at each start. */
export interface HasSetup {
  /** Sets it up; resolves with a sentence for the admin: what was done, or what can't be done here and matters. */
  setUp(): Promise<string>
}

export const hasSetup = (store: ObjectStore): store is ObjectStore & HasSetup => 'setUp' in store
