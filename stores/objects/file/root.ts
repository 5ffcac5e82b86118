import type { createFolders } from './folders.ts'

/** The folder of a file store. */
export interface Root {
  path: string
  /** The folder of staged objects. */
  incoming: string
  folders: ReturnType<typeof createFolders>
}
