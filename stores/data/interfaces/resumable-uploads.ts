import type { UploadAnswer } from '../../../schemas/uploads.ts'
import type { NewImage, Received, Recorded, RecordedUpload } from './uploads.ts'

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
