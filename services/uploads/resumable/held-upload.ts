import type { LinkRow, ResumableKey, ResumableRow } from '../../../stores/data/data-store.ts'

/** An upload that one request may change. */
export interface HeldUpload {
  row: ResumableRow
  key: ResumableKey
  link: LinkRow
  /** The previous writer is known to have ended. */
  exclusive: boolean
}
