/** Secrets that all processes of the installation share. */
export interface SecretStore {
  /** The secret with this name. If there is none, `value` becomes it. */
  readOrCreate(name: string, value: string): Promise<string>
}
