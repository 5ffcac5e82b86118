import { randomUUID } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toStoreFault } from '../file-faults.ts'

/** A temporary file. It has no name, so nothing is left behind if the process dies. */
export interface Spool {
  /** Bytes written so far. */
  readonly size: number
  write(chunk: Buffer): Promise<void>
  /** Fills the buffer with the file's bytes from `position` on. */
  read(into: Buffer, position: number): Promise<void>
  close(): Promise<void>
}

/** Opens a temporary file in the system's folder for temporary files (`TMPDIR`). Its errors are those of a store. */
export async function openSpool(): Promise<Spool> {
  const path = join(tmpdir(), `hasty-upload-${randomUUID()}`)
  const file = await open(path, 'wx+', 0o600).catch(rethrow)
  await rm(path)
  let size = 0
  return {
    get size() {
      return size
    },
    async write(chunk) {
      await file.writeFile(chunk).catch(rethrow)
      size += chunk.length
    },
    async read(into, position) {
      for (let filled = 0; filled < into.length; ) {
        const { bytesRead } = await file
          .read(into, filled, into.length - filled, position + filled)
          .catch(rethrow)
        if (bytesRead === 0) throw new Error('A temporary file is shorter than the bytes written to it.')
        filled += bytesRead
      }
    },
    close: () => file.close(),
  }
}

const rethrow = (error: unknown): never => {
  throw toStoreFault(error)
}
