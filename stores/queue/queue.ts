import type { Lease } from '../data/images.ts'

export type { Lease }

/**
 * The way of pending images to the workers. The database is the queue of record: it knows which images are pending and
 * who has leased them. A queue says when to look, and spreads the work; what it loses is only delayed.
 *
 * What a worker takes it ends with exactly one of `done`, `retry` and `release`. An image that a worker took and never
 * ended comes again when its lease has run out. It comes as often as it has to: a worker settles an image as failed
 * that was leased too many times (`Lease.attempt`).
 */
export interface Queue {
  /** Tells the workers that an image is pending. Call it after the transaction that made it so. Never throws or waits. */
  announce(imageId: string): void

  /**
   * Leases the next pending image for `LEASE_MS`, waiting for one. Resolves with undefined when `signal` is aborted; a
   * lease that it resolves with all the same is the caller's to release. Rejects when the database does not answer.
   */
  take(signal: AbortSignal): Promise<Lease | undefined>

  /** Keeps an image for another `LEASE_MS` from now; false where the lease is no longer the holder's. */
  extend(lease: Lease): Promise<boolean>

  /** Says that an image was settled, so that it need not come again. Never throws. */
  done(lease: Lease): void

  /** Gives an image back whose analysis failed; it comes again after a pause that grows with its attempts. */
  retry(lease: Lease, failure: string): Promise<void>

  /** Gives an image back that could not be begun; it comes again after `milliseconds`, and the attempt does not count. */
  release(lease: Lease, milliseconds?: number): Promise<void>

  /** How many images are pending. */
  waiting(): Promise<number>

  /** Resolves when nothing of the queue is open. Call it when all that was taken is ended. */
  close(): Promise<void>
}

/** How long a worker has an image, in milliseconds. */
export const LEASE_MS = 60_000

const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

/** How long an image waits after its attempt number `attempt` failed, in milliseconds. */
export const pauseAfter = (attempt: number) => Math.min(FIRST_PAUSE_MS * 4 ** (attempt - 1), LONGEST_PAUSE_MS)
