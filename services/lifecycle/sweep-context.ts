import type { Config } from '../../config.ts'
import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import type { Stores } from '../../stores/index.ts'
import { ObjectNotFound } from '../../stores/objects/object-store.ts'

/** A sweep changes at most this many items of each kind. The next sweep continues. */
export const LIMIT = 10_000

/** The number of keys in one query to the database. */
export const BATCH = 1_000

/** The number of concurrent requests to the object stores. */
export const PARALLEL = 16

export interface Log {
  info(context: object, message: string): void
  warn(context: object, message: string): void
  error(context: object, message: string): void
}

export type LifecycleConfig = Pick<
  Config,
  'archiveAfter' | 'deleteAfter' | 'sweepGrace' | 'trashFor' | 'corruptGrace'
>

/** The options of a sweep. */
export interface SweepOptions {
  /** Change nothing. The summary counts what would be changed, as far as one step does not depend on another. */
  dryRun: boolean
  /** Move objects without an image to the trash even if they are the majority. */
  force: boolean
  /** Make images of objects without an image, in the trash too, instead of deleting them. */
  adopt: boolean
}

/** The state that the steps of one sweep share. */
export interface SweepContext extends SweepOptions {
  stores: Stores
  config: LifecycleConfig
  log: Log
  /** The steps count what they did. */
  summary: SweepSummary
  /** Aborted when the sweep must end. */
  signal: AbortSignal
  /** Throws when the sweep must end. Each step calls it before it changes something. */
  check(): void
}

/** Groups items into arrays of `size`. The last array may be shorter. */
export async function* inBatches<T>(items: AsyncIterable<T> | Iterable<T>, size: number) {
  let batch: T[] = []
  for await (const item of items) {
    if (batch.push(item) < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

/** The images with these ids that are not removed, by id. */
export const rowsOf = async ({ data }: Stores, ids: string[]) =>
  new Map((await data.lifecycle.find(ids)).map((row) => [row.id, row]))

/** Whether the object is complete in the store that the row names. */
export async function hasObject({ stores }: SweepContext, row: LiveImage) {
  try {
    return (await stores.objects.find(row)?.size(row.id)) === row.size
  } catch (error) {
    if (error instanceof ObjectNotFound) return false
    throw error
  }
}
