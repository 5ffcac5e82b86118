import type { Lease } from '../data/images.ts'

export type { Lease }

/**
 * The way of pending images to the workers. The database is the queue of record: it knows which images are pending and
 * who has leased them. A queue says when to look, and spreads the work; what it loses is only delayed.
 */
export interface Queue {
  /** Tells the workers that an image is pending. Call it after the transaction that made it so. Never throws. */
  announce(imageId: string): void

  /**
   * Leases the next pending image for `LEASE_MS`, waiting for one. Resolves with undefined when `signal` is aborted.
   */
  take(signal: AbortSignal): Promise<Lease | undefined>

  /** Gives an image back whose analysis failed; it comes again after a pause that grows with its attempts. */
  retry(lease: Lease, failure: string): Promise<void>

  /** Gives an image back that was not begun; the attempt does not count. */
  release(lease: Lease): Promise<void>

  /** How many images are pending. */
  depth(): Promise<number>
}

/** How long a worker has an image, in milliseconds. */
export const LEASE_MS = 60_000
