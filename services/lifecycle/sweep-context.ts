import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { Stores } from '../../stores/index.ts'

/** How many things of a kind one sweep changes at most; the next goes on. */
export const LIMIT = 10_000

export interface Log {
  info(context: object, message: string): void
  warn(context: object, message: string): void
  error(context: object, message: string): void
}

/** What the steps of one sweep share. */
export interface SweepContext {
  stores: Stores
  log: Log
  /** Whether to change nothing, and only to count what would be changed. */
  dryRun: boolean
  /** The steps add to it what they did. */
  summary: SweepSummary
  /** Aborted when the sweep is to end. */
  signal: AbortSignal
  /** Throws when the sweep is to end. Each step calls it before it deletes something. */
  check(): void
}

/** Puts what comes one by one into arrays of `size`, the last of which may be shorter. */
export async function* inBatches<T>(items: AsyncIterable<T> | Iterable<T>, size: number) {
  let batch: T[] = []
  for await (const item of items) {
    if (batch.push(item) < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
