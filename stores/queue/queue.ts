import { randomUUID } from 'node:crypto'
import type { DataStore } from '../data/data-store.ts'
import type { Lease } from '../data/interfaces/image-leases.ts'

export type { Lease }

/**
 * Brings waiting images to the workers. The database is the authoritative queue: it knows which images wait and which
 * worker has leased them. A broker only notifies. If it loses a message, the work is delayed, never lost.
 *
 * A worker ends each lease with exactly one call of `done`, `retry`, `delay` or `release`. If it ends none, because it
 * died, the image can be leased again when the lease has expired.
 *
 * Only `retry` counts as an attempt: a decoder has failed on the image. Every other error is not a fault of the image.
 * It delays the image, for ever if necessary, and never makes it fail.
 */
export interface Queue {
  /** Notifies the workers that an image waits. Call it after the transaction. It never throws and never waits. */
  announce(imageId: string): void

  /**
   * Leases the next waiting image for `LEASE_MS`; waits until there is one. Resolves with undefined when `signal` is
   * aborted. If it resolves with a lease at that moment, the caller must release it. Rejects if the database does not
   * respond.
   *
   * @param avoided gives the images whose links must wait; it is called before each search
   */
  take(signal: AbortSignal, avoided?: () => Avoided): Promise<Lease | undefined>

  /** Extends the lease to `LEASE_MS` from now; false if it has expired and another worker may have the image. */
  extend(lease: Lease): Promise<boolean>

  /** Ends the lease of an image that was settled. Never throws. */
  done(lease: Lease): void

  /**
   * Ends the lease of an image that a decoder failed on: it crashed, or needed too much time or memory. The image waits
   * for a pause that grows with its attempts (`pauseAfter`). The worker that gets it decides how many attempts it has.
   */
  retry(lease: Lease, failure: string): Promise<void>

  /**
   * Ends the lease of an image that could not be tried: its object could not be read, the temporary folder is full, a
   * decoder could not be started. The image waits for a pause that grows with its delays (`pauseAfter`).
   */
  delay(lease: Lease, reason: string): Promise<void>

  /** Ends the lease of an image at once, because the worker stops. */
  release(lease: Lease): Promise<void>

  /** Whether the broker is connected. Without it, workers ask the database more often. Undefined if there is no broker. */
  readonly isConnected?: boolean

  /** How many images wait for a worker. */
  waiting(): Promise<number>

  /** Resolves when all connections of the queue are closed. Call it after all leases were ended. */
  close(): Promise<void>
}

/** The links of these images must wait: images that these links uploaded are taken after those of other links. */
export interface Avoided {
  /** Their ids. */
  images: string[]
  /** Whether images of these links are not taken at all. */
  strictly: boolean
}

/** No link must wait. */
export const nothingAvoided = (): Avoided => ({ images: [], strictly: false })

/**
 * Leases an image that is due: one of the links that need not wait, or else of any link, if that is permitted.
 *
 * @param milliseconds the duration of the lease
 */
export async function leaseFairly(
  imageLeases: DataStore['imageLeases'],
  { images, strictly }: Avoided,
  milliseconds: number,
): Promise<Lease | undefined> {
  const lease = async (notLike: string[]) =>
    (await imageLeases.lease({ token: randomUUID(), limit: 1, milliseconds, notLike }))[0]
  return (await lease(images)) ?? (images.length > 0 && !strictly ? await lease([]) : undefined)
}

/** The duration of a worker's lease in milliseconds. */
export const LEASE_MS = 60_000

const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

/** How many milliseconds an image waits after `times` failed attempts or delays. */
export const pauseAfter = (times: number) => Math.min(FIRST_PAUSE_MS * 4 ** (times - 1), LONGEST_PAUSE_MS)
