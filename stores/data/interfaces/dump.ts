/** Rows of a table, each as JSON with the names of the columns. */
export interface DumpedRows {
  table: string
  rows: string[]
}

/** The whole content of the database, for backups. */
export interface DumpStore {
  /**
   * Reads all tables that a backup needs, as they are at one moment. The embedded database serves nobody else until the
   * last row was read, so the caller must not wait for anything slow.
   */
  read(): AsyncIterable<DumpedRows>

  /** Whether there are no images, links and uploads. */
  isEmpty(): Promise<boolean>

  /**
   * Replaces the content of each table of the dump, in one transaction. Tables that this version does not know are left out.
   * The id of the installation is not replaced.
   */
  write(dump: AsyncIterable<DumpedRows>): Promise<void>
}
