import type { ImageStatus, Metadata } from '../../../schemas/images.ts'
import type { StorageLocation } from '../../storage-location.ts'
import type { PageOf, PageRequest } from '../keyset.ts'

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
