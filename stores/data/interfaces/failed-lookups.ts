/** The number of failed look-ups by address, for one window of time. */
export type FailedLookupCounts = ReadonlyMap<string, number>

export interface FailedLookupStore {
  /** Adds to the counts of a window. Resolves with the counts of all processes for these addresses. */
  add(windowStart: Date, counts: FailedLookupCounts): Promise<Map<string, number>>

  /** Deletes the counts of the windows before this one. */
  forget(windowStart: Date): Promise<void>
}
