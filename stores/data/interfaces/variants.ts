/** A row of `variants`. */
export interface VariantRow {
  imageId: string
  spec: string
  /** Null until it is made. */
  objectKey: string | null
  size: number
  /** SHA-256 in hex. */
  hash: string
  mediaType: string
  createdAt: Date
  attempts: number
  failure: string | null
  failureKind: VariantFailure | null
}

/** A variant that was made. */
export type MadeVariant = VariantRow & { objectKey: string }

/**
 * Why a variant could not be made. `unrenderable`: no decoder exists. `undecodable`: the image is damaged, or exceeds a
 * limit. `failed`: the process ended, or took too long.
 */
export type VariantFailure = 'unrenderable' | 'undecodable' | 'failed'

/** The state of a variant for a process that wants to make it. */
export type VariantClaim =
  /** This process makes it. */
  | { state: 'claimed'; attempts: number }
  /** Another process makes it. */
  | { state: 'made elsewhere' }
  | { state: 'ready'; row: VariantRow }
  /** It could not be made. No process tries again for `wait` milliseconds. */
  | { state: 'failed'; row: VariantRow; wait: number }

/** A variant that was made. */
export interface StoredVariant {
  objectKey: string
  imageId: string
  /** The region of its image. */
  region: string
  /** SHA-256 of the object in hex. */
  hash: string
}

export interface VariantStore {
  /** Finds a variant that was made. */
  find(imageId: string, spec: string): Promise<VariantRow | undefined>

  /** Lets one process make a variant for `milliseconds`. Undefined if there is no such image. */
  claim(request: {
    imageId: string
    spec: string
    lease: string
    milliseconds: number
  }): Promise<VariantClaim | undefined>

  /**
   * Records a variant that was made. Resolves with the number of the image's variants; 0 if another process has the lease,
   * or the image was removed.
   */
  settle(
    imageId: string,
    spec: string,
    lease: string,
    made: { objectKey: string; size: number; hash: string; mediaType: string },
  ): Promise<number>

  /** Records that a variant could not be made. No process tries again for `milliseconds`. */
  fail(
    imageId: string,
    spec: string,
    lease: string,
    failure: { failure: string; kind: VariantFailure; milliseconds: number },
  ): Promise<void>

  /** Ends a lease without a result. */
  giveBack(imageId: string, spec: string, lease: string): Promise<void>

  /** Deletes the rows of the oldest variants of an image above `most`. Resolves with the keys of their objects. */
  trim(imageId: string, most: number): Promise<string[]>

  /** Deletes the rows of all variants of these images. A key is null if the variant was not made. */
  removeOf(imageIds: string[]): Promise<{ imageId: string; objectKey: string | null }[]>

  /** Deletes the rows of up to `limit` variants that no process makes now. */
  removeSome(limit: number): Promise<{ objectKey: string | null; region: string }[]>

  /** Deletes the rows of removed images, whose removal was interrupted. Resolves with their number. */
  removeOrphans(): Promise<number>

  /** Deletes the row of a variant whose object is missing or damaged. False if there is none. */
  remove(objectKey: string): Promise<boolean>

  /** Those of the keys that a variant of an image that is not removed has. */
  live(objectKeys: string[]): Promise<string[]>

  /** Variants in the order of their keys, after `objectKey`. */
  after(objectKey: string, limit: number): Promise<StoredVariant[]>
}
