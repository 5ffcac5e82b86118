import type { Readable } from 'node:stream'
import type { ByteRange } from '../../schemas/byte-range.ts'

/** There is no object with this key. */
export class ObjectNotFound extends Error {
  override name = 'ObjectNotFound'
}

/** The object has another size than its row says: the storage has damaged it. */
export class WrongSize extends Error {
  override name = 'WrongSize'

  constructor(key: string, size: number) {
    super(`The size of the object ${key} is not ${size} bytes.`)
  }
}

/** The store has no space left. */
export class StoreFull extends Error {
  override name = 'StoreFull'
}

/** The store has lost bytes of an unfinished upload. The upload cannot continue. */
export class UploadLost extends Error {
  override name = 'UploadLost'
}

/**
 * Stores the bytes of images. A key has only letters and digits; `trash/` may precede it. An object is written once and
 * never changed. Each call, and each read of a stream that a call returned, may throw `StoreUnavailable`.
 */
export interface ObjectStore {
  /**
   * Reads `source` to its end and stores the bytes temporarily. The object does not exist before `commit`, because the caller decides
   * only at the end whether it is wanted. If `source` or the store fails, the call rejects with that error, destroys
   * `source` and leaves nothing behind.
   *
   * @throws {StoreFull}
   */
  stage(key: string, source: Readable): Promise<StagedObject>

  /**
   * Opens the object, or a range of its bytes, for reading. The object exists when this resolves.
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

  /** Deletes an object, or anything else that `list` returned. It is not an error if it does not exist. */
  delete(key: string): Promise<void>

  /**
   * Moves an object to another key of this store. `modifiedAt` becomes the time of this call. If the process ends in
   * between, the object exists under one of the keys or under both.
   *
   * @throws {ObjectNotFound}
   */
  rename(from: string, to: string): Promise<void>

  /**
   * Lists the store, in any order: complete objects, objects in the trash, whose keys begin with `trash/`, and unfinished
   * uploads, of living or dead processes, whose keys begin with `incoming/`. Anything with another name is not Hasty's.
   */
  list(): AsyncIterable<StoredObject>

  /** The id of the installation that owns the store; undefined if the store has none, because it is new. */
  readInstallation(): Promise<string | undefined>

  /** Makes the installation with this id the owner of the store, and prepares the store for objects. */
  writeInstallation(id: string): Promise<void>

  /**
   * Resolves if the store can be used.
   *
   * @throws {StoreUnavailable} its message gives the reason
   */
  ping(): Promise<void>
}

/** The key of an object in the trash. */
export const trashKey = (key: string) => `${TRASH}${key}`
export const TRASH = 'trash/'
/** The keys of unfinished uploads begin with it. */
export const INCOMING = 'incoming/'
/** The name of the object that has the installation's id. It can not be the key of an image. */
export const INSTALLATION = 'hasty-installation'

/** The names of files and objects with bytes of uploads that any process may continue begin with it. */
export const RESUMABLE = 'incoming/resumable-'

/** The key of the object to which a listed unfinished upload belongs; undefined if nobody can continue it. */
export function keyOfUnfinished(listed: string): string | undefined {
  const name = listed.startsWith(RESUMABLE) ? listed.slice(RESUMABLE.length) : listed.slice(INCOMING.length)
  return listed.startsWith(INCOMING) ? /^([A-Za-z0-9]+)[-/]/.exec(name)?.[1] : undefined
}

/** Whether a name in the store is the key of an object, in the trash or not. */
export const isObjectKey = (name: string) => /^(trash\/)?[A-Za-z0-9]+$/.test(name)

export interface ReadOptions {
  /**
   * Whether the stream may return all pieces in the same memory. The caller must have finished with a piece when it
   * asks for the next one, like a socket that the stream is piped into. It saves most of the garbage collector's work.
   */
  reuse?: boolean
}

/** Bytes that were received completely. The caller must call `commit` or `discard`, once. */
export interface StagedObject {
  /** The bytes, if they can be read without a request. They are valid until `commit` or `discard` is called. */
  readonly content?: Buffer | { path: string }

  /**
   * Makes the object durable and visible under its key. When this has resolved, the object survives a power cut. If it
   * rejects, nothing is left behind.
   *
   * @throws {StoreFull}
   */
  commit(): Promise<void>

  /** Deletes the bytes. */
  discard(): Promise<void>
}

export interface StoredObject {
  key: string
  /** Bytes. */
  size: number
  modifiedAt: Date
}

/** A store whose objects are files. A program that reads a file by its path needs no copy. */
export interface HasPaths {
  /** The path of the object's file. The file may not exist. */
  path(key: string): string
}

export const hasPaths = (store: ObjectStore): store is ObjectStore & HasPaths => 'path' in store

/** A store that reads a small object faster in one call than as a stream. */
export interface ReadsWhole {
  /**
   * The object's bytes.
   *
   * @param size the object's size in bytes
   * @throws {ObjectNotFound}
   * @throws {WrongSize}
   */
  readWhole(key: string, size: number): Promise<Buffer>
}

export const readsWhole = (store: ObjectStore): store is ObjectStore & ReadsWhole => 'readWhole' in store

/** A store that needs some setup, which is done once and not at each start. */
export interface HasSetup {
  /**
   * Sets up the store. Resolves with a sentence for the admin about the change, or about its refusal.
   *
   * @param keepFor how long an unfinished upload can be continued, in milliseconds
   */
  setUp(keepFor: number): Promise<string>
}

export const hasSetup = (store: ObjectStore): store is ObjectStore & HasSetup => 'setUp' in store

/** A store on a server that may not implement everything. */
export interface HasCheck {
  /**
   * Tries all operations of the service with a small object.
   *
   * @throws {Error} its message names the operation that the server does not implement or allow
   */
  check(): Promise<void>
}

export const hasCheck = (store: ObjectStore): store is ObjectStore & HasCheck => 'check' in store

/**
 * An object whose bytes arrive in several pieces, perhaps in several processes. The caller keeps this value, and gives the
 * last one to each call. It can be stored as JSON.
 */
export interface UnfinishedObject {
  readonly key: string
  /** The number of bytes that are durable. */
  readonly size: number
  /** What the adapter needs to continue. */
  readonly details: object
}

export interface AppendOptions {
  /**
   * Receives each new state, when its bytes are durable. It decides whether this writer may continue: if it throws, the
   * call stops and rejects with its error. It resolves with true if the state was recorded. Until then, the bytes of the
   * recorded state stay.
   *
   * @param isLast whether no other state will follow
   */
  checkpoint(state: UnfinishedObject, isLast: boolean): Promise<boolean>
  /**
   * Whether the previous `append` is known to have ended. Otherwise its writer may be dead, or only slow: bytes that it
   * still writes must never become a part of the object.
   */
  exclusive: boolean
}

/** A store that can receive an object in several pieces. All calls may throw `StoreUnavailable`. */
export interface Appendable {
  /** The state of an upload without bytes. It stores nothing. */
  begin(key: string): UnfinishedObject

  /**
   * Appends the bytes of `source`. Bytes after `upload.size`, which an earlier call wrote, are dropped. `source` must end,
   * and not fail, if its sender is lost: then all bytes that arrived are appended. If the store fails, the bytes of the
   * last checkpoint stay, and the call destroys `source`.
   *
   * @throws {UploadLost | StoreFull}
   */
  append(upload: UnfinishedObject, source: Readable, options: AppendOptions): Promise<UnfinishedObject>

  /** The number of bytes that the store has of the upload's durable bytes: less than `upload.size` if some are lost. */
  sizeOfUnfinished(upload: UnfinishedObject): Promise<number>

  /**
   * Makes the bytes the object `upload.key`, durably. It may be called again, also by another process, if it failed or
   * the process died. If bytes were deleted from outside, a server may report that as a fault of its own: then the call
   * throws StoreUnavailable each time, until the upload expires.
   *
   * @throws {UploadLost | StoreFull}
   */
  finish(upload: UnfinishedObject): Promise<void>

  /** Deletes all bytes, but not a finished object. It is not an error if there are none. */
  abandon(upload: UnfinishedObject): Promise<void>
}

export const isAppendable = (store: ObjectStore): store is ObjectStore & Appendable => 'append' in store
