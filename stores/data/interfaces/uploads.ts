import type { ImageStatus, Metadata } from '../../../schemas/images.ts'
import type { PageOf, PageRequest } from '../keyset.ts'
import type { MetadataRow } from './images.ts'
import type { LinkRow } from './links.ts'

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
   * without metadata), if there is one, or of `image`. If two equal files arrive at the same time, they become one image:
   * the unique index on the hash decides.
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
