import { chmod, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../config.ts'

const OTHERS = 0o077
const OTHERS_WRITE = 0o002
const STICKY = 0o1000

// The entries of DATA_DIR that hold the database, the images and the token.
const PRIVATE = ['access-token', 'db', 'objects']

/**
 * Protects DATA_DIR from other users of the machine. New files are readable only by the user of this process. Existing
 * entries that are readable by others are corrected.
 *
 * @throws {ConfigError} if others can write to DATA_DIR, or if a mode can't be corrected
 */
export async function protectDataDir(dataDir: string): Promise<void> {
  process.umask(OTHERS)
  const mode = await modeOf(dataDir)
  if (mode & OTHERS_WRITE && !(mode & STICKY)) {
    throw new ConfigError(`Every user of this machine can write to DATA_DIR. Run: chmod o-w ${dataDir}`)
  }
  for (const entry of PRIVATE) {
    const path = join(dataDir, entry)
    const mode = await modeOf(path)
    if (!(mode & OTHERS)) continue
    await chmod(path, mode & ~OTHERS).catch((error: NodeJS.ErrnoException) => {
      throw new ConfigError(
        `Other users can read ${path}, and its mode can't be changed (${error.code}). Run as its owner: chmod go= ${path}`,
      )
    })
  }
}

/** The permission bits of a file or folder; 0 if it does not exist. */
const modeOf = (path: string) =>
  stat(path).then(
    ({ mode }) => mode & 0o7777,
    () => 0,
  )
