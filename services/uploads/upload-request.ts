import type { Credentials } from '../links/passwords.ts'
import type { GivenSender } from '../links/rules.ts'

export const UPLOAD_METHODS = ['multipart', 'raw', 'tus', 'draft'] as const
/** How the bytes of an image arrive. */
export type UploadMethod = (typeof UPLOAD_METHODS)[number]

/** A request to upload by a link. */
export interface UploadRequest {
  linkId: string
  method: UploadMethod
  /** The client's address, or the network by which it is counted. */
  network: string
  credentials: Credentials
  /** The sender and the message, if the request has them outside of its parts. */
  given: GivenSender
}
