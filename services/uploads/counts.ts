import type { RejectionReason } from '../../schemas/uploads.ts'
import type { UploadMethod } from './upload-request.ts'

/** The parts that this process has received by one method. */
export interface MethodCounts {
  /** Accepted parts, including duplicates, and their bytes. */
  received: number
  bytes: number
  duplicates: number
  rejected: Map<RejectionReason, number>
}

export type UploadCounts = Record<UploadMethod, MethodCounts>

export function createUploadCounts(): UploadCounts {
  const none = (): MethodCounts => ({ received: 0, bytes: 0, duplicates: 0, rejected: new Map() })
  return { multipart: none(), raw: none(), tus: none(), draft: none() }
}

export function countRejection({ rejected }: MethodCounts, reason: RejectionReason): void {
  rejected.set(reason, (rejected.get(reason) ?? 0) + 1)
}
