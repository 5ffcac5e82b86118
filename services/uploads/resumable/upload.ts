import type { Readable } from 'node:stream'
import type { UploadAnswer } from '../../../schemas/uploads.ts'
import type { ResumableRow } from '../../../stores/data/interfaces/resumable-uploads.ts'
import type { Digests } from '../digests.ts'
import type { UploadRequest } from '../upload-request.ts'
import type { ContentDigest } from './intake.ts'

/** A request that is about a resumable upload. */
export interface ResumableRequest extends UploadRequest {
  method: 'tus' | 'draft'
}

/** The data that the sender gives about a new upload. */
export interface NewUpload {
  name: string
  sender?: string | undefined
  message?: string | undefined
  /** Bytes, if the sender knows it. */
  length: number | undefined
  /** Digests of the whole file. */
  digests: Digests
  /** The Upload-Metadata field of tus, as it was sent. */
  metadata?: string | undefined
}

/** The body of a request that appends. */
export interface Appended {
  stream: Readable
  /** The size of the body in bytes, if it is known before its end. */
  size: number | undefined
  digests: readonly ContentDigest[]
  /** Whether the body is the end of the file. Undefined: it is if the length is reached, as in tus. */
  isLast: boolean | undefined
  /** Is called with the number of durable bytes while the body arrives. */
  onProgress?: ((offset: number) => void) | undefined
}

/** The state of an upload. */
export interface UploadState
  extends Pick<ResumableRow, 'id' | 'method' | 'length' | 'metadata' | 'expiresAt'> {
  /** The number of durable bytes. */
  offset: number
  /** The response to the finished upload. */
  answer: UploadAnswer | undefined
}

/** The state of an upload, as its row has it. */
export const stateOf = ({
  id,
  method,
  length,
  metadata,
  expiresAt,
  size,
  answer,
}: ResumableRow): UploadState => ({
  id,
  method,
  length,
  metadata,
  expiresAt,
  offset: size,
  answer: answer ?? undefined,
})
