import { closeSync, fchmodSync, fsyncSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Makes a folder and everything below it accessible to its owner only, and flushes it. */
export function protectAndFlushTree(folder: string) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) protectAndFlushTree(path)
    else if (entry.isFile()) flush(path, 0o600)
  }
  flush(folder, 0o700)
}

/** Flushes a file, or the names in a folder. @param mode permission bits to set before */
export function flush(path: string, mode?: number) {
  const descriptor = openSync(path, 'r')
  try {
    if (mode !== undefined) fchmodSync(descriptor, mode)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
