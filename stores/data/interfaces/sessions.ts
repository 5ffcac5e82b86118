/** A row of `sessions`. */
export interface SessionRow {
  id: string
  tokenHash: string | null
  proof: string | null
  expiresAt: Date
}

export interface SessionStore {
  /** Adds a session that expires after `milliseconds`, and deletes the expired ones. */
  insert(session: Omit<SessionRow, 'expiresAt'> & { milliseconds: number }): Promise<SessionRow>

  /** Finds a session that has not expired. */
  find(id: string): Promise<SessionRow | undefined>

  delete(id: string): Promise<void>
}
