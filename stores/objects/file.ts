import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type HasPaths,
  ObjectNotFound,
  type ObjectStore,
  type StoredObject,
  StoreFull,
} from './object-store.ts'

const INCOMING = 'incoming/'
const READ_BYTES = 256 * 1024

/**
 * Objects as files: `ab/cd/abcd…`, sharded by the first letters of the key so that no folder grows too large.
 *
 * An object is staged in `incoming/`; to commit it, it is flushed and renamed to its place, whose folder is flushed too.
 * So a file in a shard is whole, whatever died when.
 */
export async function createFileStore(url: URL): Promise<ObjectStore & HasPaths> {
  const root = fileURLToPath(url)
  const incoming = join(root, INCOMING)
  await mkdir(incoming, { recursive: true, mode: 0o700 })
  const path = (key: string) =>
    key.startsWith(INCOMING) ? join(root, key) : join(root, key.slice(0, 2), key.slice(2, 4), key)

  return {
    path,

    async stage(key, source) {
      // Where it fails before the file is open, nobody listens yet; who reads it then still sees the error.
      source.on('error', () => {})
      const temporary = join(incoming, randomUUID())
      const file = await open(temporary, 'wx', 0o600).catch((error) => {
        source.destroy()
        throw asStoreFull(error)
      })
      const discard = async () => {
        await file.close().catch(() => {})
        await rm(temporary, { force: true })
      }
      const orDiscard = async (error: unknown) => {
        await discard()
        throw asStoreFull(error)
      }
      await file.writeFile(source).catch(orDiscard)

      return {
        content: { path: temporary },
        discard,
        async commit() {
          try {
            await file.datasync()
            await file.close()
            const target = path(key)
            await makeFolder(dirname(target))
            await rename(temporary, target)
            await syncFolder(dirname(target))
          } catch (error) {
            await orDiscard(error)
          }
        },
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

const asStoreFull = (error: unknown) =>
  ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
    ? new StoreFull('there is no room left in the object store', { cause: error })
    : error
