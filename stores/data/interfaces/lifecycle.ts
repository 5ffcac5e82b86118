import type { StorageLocation, Tier } from '../../storage-location.ts'
import type { ImageRow } from './images.ts'

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
