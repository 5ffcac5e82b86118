import type { Config } from '../../config.ts'
import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { Stores } from '../../stores/index.ts'

/** How many things of a kind one sweep changes at most. The next sweep continues. */
export const LIMIT = 10_000

export interface Log {
  info(context: object, message: string): void
  warn(context: object, message: string): void
  error(context: object, message: string): void
}

export type LifecycleConfig = Pick<Config, 'archiveAfter' | 'deleteAfter' | 'sweepGrace' | 'corruptGrace'>

/** What a caller of a sweep may choose. */
export interface SweepOptions {
  /** Change nothing. The summary counts what would be changed, as far as one step does not depend on another. */
  dryRun: boolean
  /** Delete objects without an image even if they are the majority. */
  force: boolean
}

/** What the steps of one sweep share. */
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
