/** The state of jobs that continue where they stopped, and their last reports. A value is JSON. */
export interface JobStateStore {
  /** Replaces the value. */
  save(name: string, value: object): Promise<void>

  /** The value, and how many milliseconds ago it was saved. */
  read(name: string): Promise<{ value: object; at: Date; age: number } | undefined>
}
