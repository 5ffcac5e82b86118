import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { type HasPaths, ObjectNotFound, type ObjectStore, type StoredObject } from './object-store.ts'

const INCOMING = 'incoming/'
const READ_BYTES = 256 * 1024

/**
 * Objects as files: `ab/cd/abcd…`, sharded by the first letters of the key so that no folder grows too large.
 *
 * An object is written to `incoming/`, flushed, and renamed to its place, whose folder is flushed too. So a file in a
 * shard is whole, whatever died when.
 */
export async function createFileStore(url: URL): Promise<ObjectStore & HasPaths> {
  const root = fileURLToPath(url)
  const incoming = join(root, INCOMING)
  await mkdir(incoming, { recursive: true, mode: 0o700 })
  const path = (key: string) =>
    key.startsWith(INCOMING) ? join(root, key) : join(root, key.slice(0, 2), key.slice(2, 4), key)

  return {
    path,

    async put(key, source) {
      // Where it fails before the file is open, nobody listens yet; who reads it then still sees the error.
      source.on('error', () => {})
      const temporary = join(incoming, randomUUID())
      const target = path(key)
      try {
        const size = await write(temporary, source)
        await makeFolder(dirname(target))
        await rename(temporary, target)
        await syncFolder(dirname(target))
        return size
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },

    async get(key, range) {
      const file = await open(path(key)).catch(asNotFound(key))
      return file.createReadStream({ highWaterMark: READ_BYTES, ...range })
    },

    async size(key) {
      return (await stat(path(key)).catch(asNotFound(key))).size
    },

    async delete(key) {
      await rm(path(key), { force: true })
    },

    async *list() {
      for await (const entry of await opendir(root, { recursive: true })) {
        if (!entry.isFile()) continue
        const path = join(entry.parentPath, entry.name)
        const file = await stat(path).catch(() => undefined) // it may be gone by now
        if (!file) continue
        const key = join(entry.parentPath, sep) === incoming ? INCOMING + entry.name : entry.name
        yield { key, size: file.size, modifiedAt: file.mtime } satisfies StoredObject
      }
    },

    async ping() {
      await access(incoming, constants.W_OK)
    },
  }
}

/** Writes a new file and flushes it; returns its size in bytes. */
async function write(path: string, source: Readable) {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(source)
    await file.datasync()
    return (await file.stat()).size
  } finally {
    await file.close()
  }
}

/** Makes a folder that survives a power cut: each folder that gets a new entry is flushed. */
async function makeFolder(folder: string) {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 })
  if (!first) return
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
}

async function syncFolder(folder: string) {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const asNotFound = (key: string) => (error: NodeJS.ErrnoException) => {
  throw error.code === 'ENOENT' ? new ObjectNotFound(`there is no object ${key}`) : error
}
