/** The id that the database and its object stores share. It prevents the use of a database with objects of another installation. */
export interface InstallationStore {
  /** Undefined if the database has none, because it is new. */
  read(): Promise<string | undefined>

  /** Gives the database this id if it has none. Resolves with the id that it has now. */
  create(id: string): Promise<string>
}
