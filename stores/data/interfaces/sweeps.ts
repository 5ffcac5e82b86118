import type { SweepSummary } from '../../../schemas/sweeps.ts'

export interface SweepStore {
  /** Replaces the summary of the last sweep. */
  save(summary: SweepSummary): Promise<void>

  /** The last sweep, and how many milliseconds ago it ended. Undefined if there was none. */
  last(): Promise<{ finishedAt: Date; age: number; summary: SweepSummary } | undefined>

  /** When each periodic job last ended without a fault: the sweep, and its step that archives. */
  successes(): Promise<{ name: string; finishedAt: Date }[]>
}
