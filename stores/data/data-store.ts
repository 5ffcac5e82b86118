import type { ImageStatus, Metadata } from '../../schemas/images.ts'
import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { UploadAnswer } from '../../schemas/uploads.ts'
import type { StorageLocation, Tier } from '../storage-location.ts'
import type { PageOf, PageRequest } from './keyset.ts'
import type { HeldLease } from './process-leases.ts'
import type { Database } from './sql.ts'

/**
 * The database: links, images (one row for each distinct content), uploads (one row for each accepted file) and counts.
 *
 * Every call is one statement or one transaction, and may throw `StoreUnavailable`: the database can't be reached, or did
 * not respond within ten seconds (calls of `lifecycle` have no such limit). Then a write may have happened or not. All
 * times are the database's, all durations are milliseconds, all sizes bytes.
 */
export interface DataStore {
  links: LinkStore
  images: ImageStore
  imageLeases: ImageLeaseStore
  uploads: UploadStore
  resumable: ResumableStore
  stats: StatsStore
  lifecycle: LifecycleStore
  sweeps: SweepStore
  tokens: TokenStore
  audit: AuditStore
  jobState: JobStateStore
  dump: DumpStore
  sessions: SessionStore
  failedLookups: FailedLookupStore
  installation: InstallationStore
  secrets: SecretStore
  variants: VariantStore

  /**
   * Runs `work` while no other process of the installation runs work of the same name. Resolves with undefined if another
   * process does.
   */
  withLease<Result>(
    name: string,
    work: (held: HeldLease) => Promise<Result>,
  ): Promise<{ result: Result } | undefined>

  /**
   * Resolves when the database responds and can be written to.
   *
   * @throws {StoreUnavailable} its message gives the reason
   */
  ping(): Promise<void>

  close(): Promise<void>

  /** The names of the migrations that were applied when the store was opened. */
  migrated: string[]

  /** The connections, for tests and benchmarks. */
  sql: Database
}

// Links

/** A row of `links`. */
export interface LinkRow {
  id: string
  label: string | null
  /** The region whose object store keeps the link's images; empty if the service has no regions. */
  region: string
  maxImages: number | null
  maxBytes: number | null
  /** Whether the images that arrive by the link are private. */
  private: boolean
  /** Whether the images that arrive by the link are served without their metadata. */
  stripMetadata: boolean
  description: string | null
  /** The accepted media types, separated by commas; null: all that the service accepts. */
  accept: string | null
  /** Bytes of one file. */
  maxFileSize: number | null
  /** Before this time, nothing is accepted. */
  opensAt: Date | null
  passwordHash: string | null
  askSender: 'no' | 'optional' | 'required'
  /** Only counted for a link with a limit. */
  usedImages: number
  usedBytes: number
  createdAt: Date
  expiresAt: Date
  revokedAt: Date | null
}

/** The fields of a new link. */
export type NewLinkRow = Pick<LinkRow, 'id' | 'label' | 'region' | 'maxImages' | 'maxBytes' | 'expiresAt'> &
  Partial<Pick<LinkRow, LinkOption>>

/** The columns of `links` that have a default value. */
export type LinkOption =
  | 'private'
  | 'stripMetadata'
  | 'description'
  | 'accept'
  | 'maxFileSize'
  | 'opensAt'
  | 'passwordHash'
  | 'askSender'

/** The columns that change. The others keep their values. */
export type LinkChanges = Partial<Omit<NewLinkRow, 'id' | 'region'>>

/** The uploads by a link. */
export interface LinkCounts {
  uploads: number
  bytes: number
}

/** Whether the database counts the images of a link in its row. Only uploads by a limited link wait for that row. */
export const isLimited = ({ maxImages, maxBytes }: Pick<LinkRow, 'maxImages' | 'maxBytes'>) =>
  maxImages !== null || maxBytes !== null

export interface LinkStore {
  /** Adds a link. Rejects if there is one with the same id. */
  insert(link: NewLinkRow): Promise<LinkRow>

  find(id: string): Promise<LinkRow | undefined>

  findWithCounts(id: string): Promise<(LinkRow & LinkCounts) | undefined>

  /** All links, newest first; or those that have `text` in their label or description in any case, or as their id. */
  page(request: PageRequest & { text?: string | undefined }): Promise<PageOf<LinkRow & LinkCounts>>

  /** The links with the most uploaded bytes, most first. */
  largest(limit: number): Promise<(Pick<LinkRow, 'id' | 'label'> & LinkCounts)[]>

  /**
   * Changes a link that is not revoked. A link that gets its first limit counts its earlier uploads too. Undefined if
   * there is none with this id, or it is revoked.
   */
  update(id: string, changes: LinkChanges): Promise<(LinkRow & LinkCounts) | undefined>

  /** Closes a link for ever. False if there is none with this id. A second call changes nothing. */
  revoke(id: string): Promise<boolean>
}

// Images

/** The metadata of an image: the fields of `Metadata`, null if unknown. */
export type MetadataRow = {
  [Field in keyof Metadata]-?: undefined extends Metadata[Field]
    ? Exclude<Metadata[Field], undefined> | null
    : Metadata[Field]
}

/** What an object store has instead of the object of an image: nothing, or other bytes. */
export type ObjectFault = 'missing' | 'mismatch'

/** A row of `images`, without the columns that only the work queue needs. */
export interface ImageRow extends MetadataRow, StorageLocation {
  id: string
  /** SHA-256 in hex; empty once the image is removed. */
  hash: string
  size: number
  status: ImageStatus
  receivedAt: Date
  removedAt: Date | null
  failure: string | null
  /** Found when the object was last verified. */
  objectFault: ObjectFault | null
  /** The last access, with an error of up to about a day. */
  lastAccessedAt: Date
  /** Only a request with a token or a signed URL gets it. */
  private: boolean
  /** It is served without its metadata. */
  stripMetadata: boolean
}

/** The columns that are needed to serve an image. */
export type ServedRow = Pick<
  ImageRow,
  | 'id'
  | 'hash'
  | 'size'
  | 'status'
  | 'mediaType'
  | 'receivedAt'
  | 'removedAt'
  | 'region'
  | 'tier'
  | 'private'
  | 'stripMetadata'
> & {
  /** Whether a decoder has made a picture of it. */
  decoded: boolean
}

/** Filters of a list of images. Ranges include their `From` and exclude their `To`. */
export interface ImageSearch {
  status?: ImageStatus | undefined
  format?: string | undefined
  cameraModel?: string | undefined
  receivedFrom?: Date | undefined
  receivedTo?: Date | undefined
  /** The camera's clock, or the beginning of it: `2026-11-01`. */
  takenFrom?: string | undefined
  takenTo?: string | undefined
  link?: string | undefined
  /** A part of a file name, in any case. */
  name?: string | undefined
  /** The beginning of a SHA-256 in hex. */
  hash?: string | undefined
  ids?: string[] | undefined
  damaged?: boolean | undefined
  /** Only images whose object has this fault. */
  objectFault?: ObjectFault | undefined
  /** Only images that are not removed. */
  isPresent?: boolean | undefined
  box?: Box | undefined
}

/** A rectangle in degrees. If its west is greater than its east, it crosses the antimeridian (RFC 7946 §5.2). */
export interface Box {
  west: number
  south: number
  east: number
  north: number
}

export interface ImageStore {
  /** Finds an image, with the columns that are needed to serve it. Calls of one turn of the event loop share a query. */
  findServed(id: string): Promise<ServedRow | undefined>

  find(id: string): Promise<ImageRow | undefined>

  /** How many images have these statuses. A status without images is absent. */
  countByStatus(statuses: ImageStatus[]): Promise<{ status: ImageStatus; count: number }[]>

  /** Images that match a search, newest first. */
  page(request: PageRequest & { search?: ImageSearch }): Promise<PageOf<ImageRow>>

  /**
   * Marks an image as removed and erases its location, camera, times, placeholder, hash and file names. Its id and its
   * counts stay. False if there is none, or it is removed already. The caller deletes its object.
   */
  remove(id: string): Promise<boolean>

  /** Sets or clears the fault of an image's object. Resolves with the fault before; undefined if the image is removed. */
  markFault(id: string, fault: ObjectFault | null): Promise<ObjectFault | null | undefined>
}

// Leases of images by workers

/** An image that waits for a worker, and that one worker has for a limited time. */
export interface Lease extends StorageLocation {
  imageId: string
  /** Identifies this lease. A verdict with the token of an expired lease is ignored. */
  token: string
  /** True if the image was never analysed; false if it only waits to be verified, or to be analysed again. */
  pending: boolean
  format: string
  mediaType: string
  /** The number of this attempt, from 1. Only a decoder's result counts as an attempt. */
  attempt: number
  /** How many times in a row the image was delayed because it could not be tried. */
  delays: number
  /** The trace of its upload, as a `traceparent`. */
  trace: string | null
}

/** Identifies a lease. */
export type LeaseKey = Pick<Lease, 'imageId' | 'token'>

/** The result of an analysis. */
export type Verdict =
  | { status: 'ready'; metadata: Metadata }
  | { status: 'corrupt' | 'failed'; failure: string; metadata?: Metadata }
  | { status: 'rejected'; failure: string }

export interface ImageLeaseStore {
  /**
   * Leases up to `limit` images that are due, for `milliseconds`. An image that is not settled, extended or released
   * by then can be leased again. `notLike` has the ids of images: images that were uploaded by their links are not leased.
   */
  lease(request: { token: string; limit: number; milliseconds: number; notLike?: string[] }): Promise<Lease[]>

  /** Leases one image. Undefined if it does not wait, or is not due yet. */
  leaseOne(request: { imageId: string; token: string; milliseconds: number }): Promise<Lease | undefined>

  /** In how many milliseconds an image is due; 0 or less if it is due now, undefined if it does not wait. */
  dueIn(imageId: string): Promise<number | undefined>

  /**
   * The ids of up to `limit` images that have been due for `milliseconds` and are not leased, the longest overdue first.
   * Overdue this long, an image's notification was probably lost.
   */
  overdue(request: { milliseconds: number; limit: number }): Promise<string[]>

  /** Extends a lease to `milliseconds` from now. False if the lease has expired and another worker has the image. */
  extend(lease: LeaseKey, options: { milliseconds: number }): Promise<boolean>

  /**
   * Ends a lease without a verdict. The image is due again after `milliseconds`. Nothing happens if another worker has
   * the image.
   */
  release(lease: LeaseKey, options: ReleaseOptions): Promise<void>

  /**
   * Ends the analysis of a leased image with a verdict, and updates the counts of its uploads. False if the lease has
   * expired and another worker has the image, or the image was removed.
   */
  settle(lease: LeaseKey, verdict: Verdict): Promise<boolean>

  /**
   * Queues settled images for a new analysis. They keep their status until the new verdict. Resolves with their ids.
   * Images that wait already, or were removed, are not changed.
   */
  requeue(request: RequeueRequest): Promise<string[]>

  /** How many images wait for a worker, including the leased ones. */
  waiting(): Promise<number>

  /** How many milliseconds the oldest waiting image has waited; 0 if none waits. */
  oldestWaitingAge(): Promise<number>
}

export interface ReleaseOptions {
  milliseconds: number
  /** Why the image has no verdict. */
  failure?: string
  /** `attempt`: a decoder failed on the image. `delay`: it could not be tried. `nothing`: it was given back at once. */
  counts: 'attempt' | 'delay' | 'nothing'
}

/** Which images are queued again: those with these ids, or the oldest `limit` ones with this status. */
export interface RequeueRequest {
  ids?: string[] | undefined
  status?: ImageStatus | undefined
  limit: number
}

// Uploads

/** A file that was received completely. */
export interface Received {
  link: Pick<LinkRow, 'id' | 'region' | 'maxImages' | 'maxBytes'> &
    Partial<Pick<LinkRow, 'private' | 'stripMetadata' | 'accept' | 'maxFileSize'>>
  /** When its first byte arrived. A link that expires later accepts it. */
  startedAt: Date
  name: string
  /** SHA-256 in hex. */
  hash: string
  size: number
  /** The name and the message of the sender. */
  sender?: string | null
  message?: string | null
}

/** The image that a file becomes if its content is new. The object store of the link's region has its object. */
export interface NewImage {
  id: string
  /** `ready` if `metadata` is complete, `pending` if a worker has to read the file. */
  status: 'ready' | 'pending'
  metadata: Metadata
  /** The trace of the upload, as a `traceparent`. */
  trace?: string | undefined
  /** True, the default: uploads of the same content become uploads of this image. False: it has no duplicates. */
  shared?: boolean
}

/** The image to which an upload was recorded, or the reason why nothing was recorded. */
export type Recorded = RecordedUpload | Refusal

/** The reason why a link does not accept a file. A link accepts no file after it is revoked. */
export type Refusal = 'link_used_up' | 'link_expired' | 'link_revoked'

export const isRefusal = (recorded: unknown): recorded is Refusal => typeof recorded === 'string'

export interface RecordedUpload {
  id: string
  status: PresentStatus
  duplicate: boolean
  metadata: MetadataRow
}

/** The status of an image that has not been removed. */
export type PresentStatus = Exclude<ImageStatus, 'rejected' | 'removed'>

export interface UploadRow {
  id: string
  imageId: string
  name: string
  size: number
  duplicate: boolean
  status: ImageStatus
  receivedAt: Date
  sender: string | null
  message: string | null
}

/** An upload of an image, and its link. */
export interface ImageUploadRow {
  name: string
  sender: string | null
  message: string | null
  duplicate: boolean
  receivedAt: Date
  linkId: string
  label: string | null
}

export interface UploadStore {
  /**
   * Records a file as an upload: of the shared image of the link's region with the same hash and the same rules (private,
   * without metadata), if there is one, or of `image`. If two equal files arrive at the same time, they become one image. The unique index on the hash decides.
   */
  record(received: Received, image: NewImage): Promise<Recorded>

  /** Like `record`, but only as an upload of an image that exists. Undefined if there is none. */
  recordKnown(received: Received): Promise<Recorded | undefined>

  /** The name of the first upload of an image that has one; undefined if none has one. */
  nameOf(imageId: string): Promise<string | undefined>

  /** The name of each image's first upload that has one: by the link, if one is given. */
  namesOf(imageIds: string[], linkId?: string): Promise<Map<string, string>>

  /** The last uploads of an image by all links, newest first. */
  ofImage(imageId: string, limit: number): Promise<ImageUploadRow[]>

  /** The uploads by a link, newest first. */
  pageOfLink(linkId: string, request: PageRequest): Promise<PageOf<UploadRow>>
}

// Resumable uploads

/** A row of `resumable_uploads`. */
export interface ResumableRow {
  id: string
  linkId: string
  method: 'tus' | 'draft'
  /** The key of the object, which becomes the id of the image. */
  imageId: string
  region: string
  name: string
  sender: string | null
  message: string | null
  /** The Upload-Metadata field of tus, as it was sent. */
  metadata: string | null
  /** The declared digests of the whole file, in Base64 by algorithm. */
  digests: Record<string, string>
  /** Bytes. Null if the sender does not know it yet. */
  length: number | null
  /** The acknowledged bytes. They are durable, and their number never decreases. */
  size: number
  /** The `details` of the object store's `UnfinishedObject`. Null before the first bytes, and after the end. */
  details: object | null
  /** The request that may append. It may be dead. */
  writer: string | null
  startedAt: Date
  expiresAt: Date
  finishedAt: Date | null
  /** The response to the finished upload. */
  answer: UploadAnswer | null
}

export type NewResumableRow = Omit<
  ResumableRow,
  'size' | 'details' | 'writer' | 'startedAt' | 'expiresAt' | 'finishedAt' | 'answer'
> & { writer: string }

/** An upload and the request that wants to change it. */
export interface ResumableKey {
  id: string
  writer: string
}

/** Another request has taken over the upload, or it was deleted. Nothing was changed. */
export class WriterReplaced extends Error {
  override name = 'WriterReplaced'
}

/** The limits for all unfinished uploads of a link together. */
export interface ResumableLimits {
  uploads: number
  bytes: number
  /** For how many bytes an upload without a length counts. */
  bytesWithoutLength: number
  /** The lifetime of the upload. */
  milliseconds: number
}

export interface ResumableStore {
  /** Adds an upload, unless the unfinished uploads of the link exceed a limit. */
  insert(
    row: NewResumableRow,
    limits: ResumableLimits,
  ): Promise<ResumableRow | 'too_many_uploads' | 'too_many_bytes'>

  /** Undefined if there is none, or it has expired. */
  find(id: string): Promise<ResumableRow | undefined>

  /** The uploads that are unfinished and have not expired. */
  countUnfinished(): Promise<number>

  /**
   * Makes `writer` the only one that may change an unfinished upload. Resolves with the row as it was before: if it had a
   * writer, that one may still be alive, and its next change fails. `completing`: the writer completes the upload, and is
   * not replaced.
   */
  take(id: string, writer: string): Promise<ResumableRow | 'completing' | undefined>

  /** Records durable bytes. `isLast`: it also ends the writer. @throws {WriterReplaced} */
  save(
    key: ResumableKey,
    state: Pick<ResumableRow, 'size' | 'details' | 'length'>,
    options?: { isLast?: boolean },
  ): Promise<void>

  /** States that the writer completes the upload and is not dead. It applies for this time. @throws {WriterReplaced} */
  completing(key: ResumableKey, milliseconds: number): Promise<void>

  /** Ends the writer. Nothing happens if it was replaced. */
  release(key: ResumableKey): Promise<void>

  /** Like `UploadStore.record`. It also ends the upload, in the same transaction. @throws {WriterReplaced} */
  recordNew(key: ResumableKey, received: Received, image: NewImage, answerOf: AnswerOf): Promise<Recorded>

  /** Like `UploadStore.recordKnown`. It also ends the upload, in the same transaction. @throws {WriterReplaced} */
  recordKnown(key: ResumableKey, received: Received, answerOf: AnswerOf): Promise<Recorded | undefined>

  /** Ends an upload that is not accepted. @throws {WriterReplaced} */
  reject(key: ResumableKey, answer: UploadAnswer): Promise<void>

  remove(id: string): Promise<void>

  /** Which of these ids of images belong to unfinished uploads. */
  unfinished(imageIds: string[]): Promise<Set<string>>

  /** The number of unfinished uploads that have expired. */
  countExpired(): Promise<number>

  /** Makes `writer` the writer of up to `limit` expired uploads, the oldest first. The caller deletes their bytes. */
  takeExpired(writer: string, limit: number): Promise<ResumableRow[]>
}

/** Makes the response to a finished upload. */
export type AnswerOf = (recorded: RecordedUpload) => UploadAnswer

// Statistics

export interface UploadCount {
  key: string
  uploads: number
  bytes: number
}

/** The images in a storage location, and their bytes. */
export interface StoredCount extends StorageLocation {
  images: number
  bytes: number
}

/** Reads the counts. Their number does not grow with the number of uploads. */
export interface StatsStore {
  /** The formats or the camera models (empty: unknown) with the most uploads, most first. */
  top(kind: 'format' | 'model', limit: number): Promise<UploadCount[]>

  /** The days in UTC that have uploads, newest first: of the `days` days that end with `last`, such as 2026-11-01. */
  days(last: string, days: number): Promise<UploadCount[]>

  /** The images that are not removed, and their bytes, by storage location. */
  stored(): Promise<StoredCount[]>
}

// The lifecycle of images, for the sweep

/** An image that is not removed, and where its object must be. */
export type LiveImage = Pick<ImageRow, 'id' | 'hash' | 'size' | 'region' | 'tier'>

/** A removed image. Its object may be in any store of the region. */
export type Removed = Pick<ImageRow, 'id' | 'region'>

/** An image that is made from an object. */
export type AdoptedImage = LiveImage &
  Pick<ImageRow, 'format' | 'mediaType'> & {
    /** Now, if absent. */
    receivedAt?: Date
    /** True by default. */
    shared?: boolean
    /** By default, an image is private if there is a private link: it may have been sent with that one. */
    isPrivate?: boolean
  }

/** Up to `limit` rows whose state has not changed for `milliseconds`, the oldest first. */
export interface OldRows {
  milliseconds: number
  limit: number
}

export interface LifecycleStore {
  now(): Promise<Date>

  /** How many images are not removed. */
  count(): Promise<number>

  /** How many images that are not removed have an object with a known fault. */
  faulty(): Promise<number>

  /** The images with these ids that are not removed. */
  find(ids: string[]): Promise<LiveImage[]>

  /** Images that are not removed, in the order of their ids, after `id`. */
  after(id: string, limit: number): Promise<LiveImage[]>

  /**
   * Sets the time of the last access to now. Writes only if the stored time is older than `precision` milliseconds.
   */
  touch(ids: string[], precision: number): Promise<void>

  /** Images in the hot store of these regions that nobody has accessed in that time. */
  hotNotAccessed(request: OldRows & { regions: readonly string[] }): Promise<LiveImage[]>

  /**
   * Images in the cold store of these regions, the last accessed first. With `milliseconds`, only those that were
   * accessed in that time.
   */
  coldAccessedSince(request: {
    regions: readonly string[]
    milliseconds: number | undefined
    limit: number
  }): Promise<LiveImage[]>

  /** Records that an image's object is in the other store now. False if it was already, or the image is removed. */
  move(id: string, to: Tier): Promise<boolean>

  /** Images that nobody has accessed or uploaded in that time. */
  notAccessed(request: OldRows): Promise<Removed[]>

  /** Removes images that nobody has accessed or uploaded in that time, like `images.remove`. */
  removeNotAccessed(request: OldRows): Promise<Removed[]>

  /** Images that were found corrupt that long ago. */
  corrupt(request: OldRows): Promise<Removed[]>

  /** Removes images that were found corrupt that long ago, like `images.remove`. */
  removeCorrupt(request: OldRows): Promise<Removed[]>

  /** How many leases of images expired that long ago: their workers have died. */
  deadLeases(request: { milliseconds: number }): Promise<number>

  /** Ends those leases, so that a late verdict is ignored. Resolves with their number. */
  endDeadLeases(request: { milliseconds: number }): Promise<number>

  /** Whether there are images in this store that are not removed. */
  hasImages(location: StorageLocation): Promise<boolean>

  /**
   * Adds an image for an object that has none. It is pending and due now. Its link is not known, so it gets the strictest
   * rules of all links: it is private if any link is. False if there is an image with this id, removed or not, or a
   * shared image with this hash in the region.
   */
  adopt(image: AdoptedImage): Promise<boolean>

  /** Up to `limit` days before today, in UTC, whose counts have several shards or are zero. */
  daysToFold(limit: number): Promise<string[]>

  /** Adds up the shards of a day's counts. Deletes the counts of a day without uploads. */
  foldDay(day: string): Promise<void>
}

// Sweeps

export interface SweepStore {
  /** Replaces the summary of the last sweep. */
  save(summary: SweepSummary): Promise<void>

  /** The last sweep, and how many milliseconds ago it ended. Undefined if there was none. */
  last(): Promise<{ finishedAt: Date; age: number; summary: SweepSummary } | undefined>

  /** When each periodic job last ended without a fault: the sweep, and its step that archives. */
  successes(): Promise<{ name: string; finishedAt: Date }[]>
}

// Jobs

/** The state of jobs that continue where they stopped, and their last reports. A value is JSON. */
export interface JobStateStore {
  /** Replaces the value. */
  save(name: string, value: object): Promise<void>

  /** The value, and how many milliseconds ago it was saved. */
  read(name: string): Promise<{ value: object; at: Date; age: number } | undefined>
}

// Backups

/** Rows of a table, each as JSON with the names of the columns. */
export interface DumpedRows {
  table: string
  rows: string[]
}

/** The whole content of the database, for backups. */
export interface DumpStore {
  /**
   * Reads all tables that a backup needs, as they are at one moment. The embedded database serves nobody else until the
   * last row was read, so the caller must not wait for anything slow.
   */
  read(): AsyncIterable<DumpedRows>

  /** Whether there are no images, links and uploads. */
  isEmpty(): Promise<boolean>

  /**
   * Replaces the content of each table of the dump, in one transaction. Tables that this version does not know are left out.
   * The id of the installation is not replaced.
   */
  write(dump: AsyncIterable<DumpedRows>): Promise<void>
}

// Access

/** A row of `tokens`, without the hash. */
export interface TokenRow {
  id: string
  name: string
  /** Separated by spaces. */
  scopes: string
  createdAt: Date
  createdBy: string
  revokedAt: Date | null
}

/** The named access tokens. A hash is the SHA-256 of the token in hex. */
export interface TokenStore {
  insert(token: Pick<TokenRow, 'id' | 'name' | 'scopes' | 'createdBy'> & { hash: string }): Promise<TokenRow>

  /** Finds a token that is not revoked. */
  findByHash(hash: string): Promise<TokenRow | undefined>

  find(id: string): Promise<TokenRow | undefined>

  /** All tokens, newest first. */
  page(request: PageRequest): Promise<PageOf<TokenRow>>

  /** Gives a token a new secret. False if there is none with this id, or it is revoked. */
  replaceHash(id: string, hash: string): Promise<boolean>

  /** Ends a token for ever. False if there is none with this id. A second call changes nothing. */
  revoke(id: string): Promise<boolean>
}

/** A row of `audit`: what an admin did. */
export interface AuditRow {
  id: string
  at: Date
  actor: string
  tokenId: string | null
  action: string
  target: string | null
  detail: string | null
  address: string
  /** The HTTP status of the response. */
  status: number
}

/** Filters of the audit log. `from` is included, `to` is not. */
export interface AuditSearch {
  from?: Date | undefined
  to?: Date | undefined
  actor?: string | undefined
  action?: string | undefined
}

export interface AuditStore {
  add(entry: Omit<AuditRow, 'id' | 'at'>): Promise<void>

  /** Entries that match a filter, newest first. */
  page(request: PageRequest & { filter?: AuditSearch }): Promise<PageOf<AuditRow>>

  /** Deletes up to `limit` entries that are older than `milliseconds`. Resolves with their number. */
  forget(request: OldRows): Promise<number>

  /** How many entries `forget` would delete. */
  countOld(request: OldRows): Promise<number>
}

// Sessions

/** A row of `sessions`. */
export interface SessionRow {
  id: string
  tokenHash: string | null
  proof: string | null
  expiresAt: Date
}

export interface SessionStore {
  /** Adds a session that expires after `milliseconds`, and deletes the expired ones. */
  insert(session: Omit<SessionRow, 'expiresAt'> & { milliseconds: number }): Promise<SessionRow>

  /** Finds a session that has not expired. */
  find(id: string): Promise<SessionRow | undefined>

  delete(id: string): Promise<void>
}

// Installation

/** The id that the database and its object stores share. It prevents that a database is used with foreign objects. */
export interface InstallationStore {
  /** Undefined if the database has none, because it is new. */
  read(): Promise<string | undefined>

  /** Gives the database this id if it has none. Resolves with the id that it has now. */
  create(id: string): Promise<string>
}

// Variants

/** A row of `variants`. */
export interface VariantRow {
  imageId: string
  spec: string
  /** Null until it is made. */
  objectKey: string | null
  size: number
  /** SHA-256 in hex. */
  hash: string
  mediaType: string
  createdAt: Date
  attempts: number
  failure: string | null
  failureKind: VariantFailure | null
}

/** A variant that was made. */
export type MadeVariant = VariantRow & { objectKey: string }

/**
 * Why a variant could not be made. `unrenderable`: no decoder exists. `undecodable`: the image is damaged, or exceeds a
 * limit. `failed`: the process ended, or took too long.
 */
export type VariantFailure = 'unrenderable' | 'undecodable' | 'failed'

/** The state of a variant for a process that wants to make it. */
export type VariantClaim =
  /** This process makes it. */
  | { state: 'claimed'; attempts: number }
  /** Another process makes it. */
  | { state: 'made elsewhere' }
  | { state: 'ready'; row: VariantRow }
  /** It could not be made. No process tries again for `wait` milliseconds. */
  | { state: 'failed'; row: VariantRow; wait: number }

/** A variant that was made. */
export interface StoredVariant {
  objectKey: string
  imageId: string
  /** The region of its image. */
  region: string
  /** SHA-256 of the object in hex. */
  hash: string
}

export interface VariantStore {
  /** Finds a variant that was made. */
  find(imageId: string, spec: string): Promise<VariantRow | undefined>

  /** Lets one process make a variant for `milliseconds`. Undefined if there is no such image. */
  claim(request: {
    imageId: string
    spec: string
    lease: string
    milliseconds: number
  }): Promise<VariantClaim | undefined>

  /**
   * Records a variant that was made. Resolves with the number of the image's variants; 0 if another process has the lease,
   * or the image was removed.
   */
  settle(
    imageId: string,
    spec: string,
    lease: string,
    made: { objectKey: string; size: number; hash: string; mediaType: string },
  ): Promise<number>

  /** Records that a variant could not be made. No process tries again for `milliseconds`. */
  fail(
    imageId: string,
    spec: string,
    lease: string,
    failure: { failure: string; kind: VariantFailure; milliseconds: number },
  ): Promise<void>

  /** Ends a lease without a result. */
  giveBack(imageId: string, spec: string, lease: string): Promise<void>

  /** Deletes the rows of the oldest variants of an image above `most`. Resolves with the keys of their objects. */
  trim(imageId: string, most: number): Promise<string[]>

  /** Deletes the rows of all variants of these images. A key is null if the variant was not made. */
  removeOf(imageIds: string[]): Promise<{ imageId: string; objectKey: string | null }[]>

  /** Deletes the rows of up to `limit` variants that no process makes now. */
  removeSome(limit: number): Promise<{ objectKey: string | null; region: string }[]>

  /** Deletes the rows of removed images, whose removal was interrupted. Resolves with their number. */
  removeOrphans(): Promise<number>

  /** Deletes the row of a variant whose object is missing or damaged. False if there is none. */
  remove(objectKey: string): Promise<boolean>

  /** Those of the keys that a variant of an image that is not removed has. */
  live(objectKeys: string[]): Promise<string[]>

  /** Variants in the order of their keys, after `objectKey`. */
  after(objectKey: string, limit: number): Promise<StoredVariant[]>
}

// Secrets

/** Secrets that all processes of the installation share. */
export interface SecretStore {
  /** The secret with this name. If there is none, `value` becomes it. */
  readOrCreate(name: string, value: string): Promise<string>
}

// Failed look-ups

/** The number of failed look-ups by address, for one window of time. */
export type FailedLookupCounts = ReadonlyMap<string, number>

export interface FailedLookupStore {
  /** Adds to the counts of a window. Resolves with the counts of all processes for these addresses. */
  add(windowStart: Date, counts: FailedLookupCounts): Promise<Map<string, number>>

  /** Deletes the counts of the windows before this one. */
  forget(windowStart: Date): Promise<void>
}
