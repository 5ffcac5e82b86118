import type { LinkRow } from '../../../stores/data/interfaces/links.ts'
import type { ResumableKey, ResumableRow } from '../../../stores/data/interfaces/resumable-uploads.ts'

/** An upload that one request may change. */
export interface HeldUpload {
  row: ResumableRow
  key: ResumableKey
  link: LinkRow
  /** The previous writer is known to have ended. */
  exclusive: boolean
  /** The request states the length of the upload, which was not known before. */
  statesLength?: boolean
  /** The writer has ended already. */
  isReleased?: boolean
}
