import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Makes folders that survive a power cut: after a folder was made, its parent is flushed. */
export function createFolders() {
  const made = new Map<string, Promise<void>>()

  async function makeAndFlush(folder: string) {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Also if the folder existed: the process that made it may have died before its flush.
    await syncFolder(dirname(folder))
  }

  return {
    /** Resolves when the folder exists and is durable. Its parent must exist. */
    make(folder: string): Promise<void> {
      const making = made.get(folder) ?? makeAndFlush(folder)
      made.set(folder, making)
      making.catch(() => made.delete(folder))
      return making
    },
    /** Call it after the folder was removed: the next `make` makes it again. */
    forget(folder: string) {
      made.delete(folder)
    },
  }
}

/** Makes the entries of a folder durable (fsync(2)). */
export async function syncFolder(folder: string) {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
