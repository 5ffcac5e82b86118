/** The id that the database and its object stores share. It prevents that a database is used with foreign objects. */
export interface InstallationStore {
  /** Undefined if the database has none, because it is new. */
  read(): Promise<string | undefined>

  /** Gives the database this id if it has none. Resolves with the id that it has now. */
  create(id: string): Promise<string>
}
