import type { Readable } from 'node:stream'
import type { RejectionReason } from '../../schemas/uploads.ts'
import type { Digests } from './digests.ts'

/** A part of an upload, or why it cannot be read. */
export type Part = FilePart | TextPart | { name: string; fault: RejectionReason }

/** A text field of the form. */
export interface TextPart {
  name: 'sender' | 'message'
  text: Promise<string>
}

export interface FilePart {
  name: string
  file: PartFile
  digests: Digests
}

/** The bytes of a part. The stream fails if the request ends before the part does. */
export interface PartFile extends Readable {
  /** Set at the end: the part was larger than MAX_FILE_SIZE, and the rest was dropped. */
  truncated: boolean
}
