import type { ImageStatus, Metadata } from '../../../schemas/images.ts'
import type { StorageLocation } from '../../storage-location.ts'

/** An image that waits for a worker, and that one worker has for a limited time. */
export interface Lease extends StorageLocation {
  imageId: string
  /** Identifies this lease. A verdict with the token of an expired lease is ignored. */
  token: string
  /** True if the image was never analysed; false if it only waits to be verified, or to be analysed again. */
  pending: boolean
  format: string
  mediaType: string
  /** The number of this attempt, from 1. Only a decoder's result counts as an attempt. */
  attempt: number
  /** How many times in a row the image was delayed because it could not be tried. */
  delays: number
  /** The trace of its upload, as a `traceparent`. */
  trace: string | null
}

/** Identifies a lease. */
export type LeaseKey = Pick<Lease, 'imageId' | 'token'>

/** The result of an analysis. */
export type Verdict =
  | { status: 'ready'; metadata: Metadata }
  | { status: 'corrupt' | 'failed'; failure: string; metadata?: Metadata }
  | { status: 'rejected'; failure: string }

export interface ImageLeaseStore {
  /**
   * Leases up to `limit` images that are due, for `milliseconds`. An image that is not settled, extended or released
   * by then can be leased again. `notLike` has the ids of images: images that were uploaded by their links are not leased.
   */
  lease(request: { token: string; limit: number; milliseconds: number; notLike?: string[] }): Promise<Lease[]>

  /** Leases one image. Undefined if it does not wait, or is not due yet. */
  leaseOne(request: { imageId: string; token: string; milliseconds: number }): Promise<Lease | undefined>

  /** In how many milliseconds an image is due; 0 or less if it is due now, undefined if it does not wait. */
  dueIn(imageId: string): Promise<number | undefined>

  /**
   * The ids of up to `limit` images that have been due for `milliseconds` and are not leased, the longest overdue first.
   * Overdue this long, an image's notification was probably lost.
   */
  overdue(request: { milliseconds: number; limit: number }): Promise<string[]>

  /** Extends a lease to `milliseconds` from now. False if the lease has expired and another worker has the image. */
  extend(lease: LeaseKey, options: { milliseconds: number }): Promise<boolean>

  /**
   * Ends a lease without a verdict. The image is due again after `milliseconds`. Nothing happens if another worker has
   * the image.
   */
  release(lease: LeaseKey, options: ReleaseOptions): Promise<void>

  /**
   * Ends the analysis of a leased image with a verdict, and updates the counts of its uploads. False if the lease has
   * expired and another worker has the image, or the image was removed.
   */
  settle(lease: LeaseKey, verdict: Verdict): Promise<boolean>

  /**
   * Queues settled images for a new analysis. They keep their status until the new verdict. Resolves with their ids.
   * Images that wait already, or were removed, are not changed.
   */
  requeue(request: RequeueRequest): Promise<string[]>

  /** How many images wait for a worker, including the leased ones. */
  waiting(): Promise<number>

  /** How many milliseconds the oldest waiting image has waited; 0 if none waits. */
  oldestWaitingAge(): Promise<number>
}

export interface ReleaseOptions {
  milliseconds: number
  /** Why the image has no verdict. */
  failure?: string
  /** `attempt`: a decoder failed on the image. `delay`: it could not be tried. `nothing`: it was given back at once. */
  counts: 'attempt' | 'delay' | 'nothing'
}

/** Which images are queued again: those with these ids, or the oldest `limit` ones with this status. */
export interface RequeueRequest {
  ids?: string[] | undefined
  status?: ImageStatus | undefined
  limit: number
}
