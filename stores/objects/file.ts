import { randomUUID } from 'node:crypto'
import { closeSync, constants, existsSync, open as openCallback, read as readCallback } from 'node:fs'
import { access, type FileHandle, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ByteRange } from '../../schemas/byte-range.ts'
import { StoreUnavailable } from '../unavailable.ts'
import {
  type HasPaths,
  ObjectNotFound,
  type ObjectStore,
  type ReadOptions,
  type ReadsWhole,
  type StoredObject,
  StoreFull,
} from './object-store.ts'

const openDescriptor = promisify(openCallback)
const readDescriptor = promisify(readCallback)

const INCOMING = 'incoming/'
// A slow reader has one of these waiting for it.
const READ_BYTES = 256 * 1024
// What comes while a write is under way, up to so much, becomes the next one.
const WRITE_BYTES = 1024 * 1024
// A large object is flushed on the way, each time so much has come, or the last flush would have to do it all.
const FLUSH_BYTES = 16 * 1024 * 1024

/**
 * Objects as files: `ab/abcd…`, sharded by the first two letters of the key, so that ten million are some 2,600 in each
 * of 3,844 folders. With a second level nearly every object would have a folder to be made and flushed.
 *
 * An object is staged in `incoming/`; to commit it, it is flushed and renamed to its location, whose folder is flushed too.
 * So a file in a shard is whole, whatever died when.
 */
export async function createFileStore(url: URL): Promise<ObjectStore & HasPaths & ReadsWhole> {
  const root = fileURLToPath(url)
  const incoming = join(root, INCOMING)
  await mkdir(incoming, { recursive: true, mode: 0o700 })
  const shards = createFolders()
  const path = (key: string) =>
    key.startsWith(INCOMING) ? join(root, key) : join(root, key.slice(0, 2), key)
  // Where objects were put before: `ab/cd/abcd…`. They stay there.
  const formerPath = (key: string) => join(root, key.slice(0, 2), key.slice(2, 4), key)

  /** Opens a file, or asks about it, where it is. */
  async function find<T>(key: string, use: (path: string) => Promise<T>) {
    try {
      return await use(path(key)).catch((error) => {
        if (isMissing(error)) return use(formerPath(key))
        throw error
      })
    } catch (error) {
      throw isMissing(error) ? new ObjectNotFound(`there is no object ${key}`) : asStoreFault(error)
    }
  }

  return {
    // It is asked for once in an analysis: that is no place to save a look into a folder.
    path: (key) => [path(key), formerPath(key)].find(existsSync) ?? path(key),

    async stage(key, source) {
      // Where it fails before the file is open, nobody listens yet; who reads it then still sees the error.
      source.on('error', () => {})
      const temporary = join(incoming, randomUUID())
      const file = await open(temporary, 'wx', 0o600).catch((error) => {
        source.destroy()
        throw asStoreFault(error)
      })
      const discard = async () => {
        await file.close().catch(() => {})
        await rm(temporary, { force: true })
      }
      const orDiscard = async (error: unknown) => {
        await discard()
        throw asStoreFault(error)
      }
      const writer = createWriter(file)
      await pipeline(source, writer.stream).catch(orDiscard)

      return {
        content: { path: temporary },
        discard,
        async commit() {
          const target = path(key)
          const shard = dirname(target)
          try {
            await writer.flush()
            await file.close()
            await shards.make(shard)
            await rename(temporary, target).catch(async (error) => {
              if (!isMissing(error)) throw error
              // Somebody has removed the folder.
              shards.forget(shard)
              await shards.make(shard)
              await rename(temporary, target)
            })
            await syncFolder(shard)
          } catch (error) {
            await rm(target, { force: true }).catch(() => {})
            await orDiscard(error)
          }
        },
      }
    },

    async get(key, range, options) {
      return createReader(await find(key, (path) => open(path)), range, options)
    },

    async readWhole(key, size) {
      const file = await find(key, (path) => openDescriptor(path, 'r'))
      try {
        // One byte more, so that one read tells whether the size is right.
        const { buffer, bytesRead } = await readDescriptor(
          file,
          Buffer.allocUnsafeSlow(size + 1),
          0,
          size + 1,
          0,
        )
        if (bytesRead !== size) throw new Error(`the object ${key} has other than ${size} bytes`)
        return buffer.subarray(0, size)
      } finally {
        // Nothing was written that this could wait for; to have a thread do it takes longer.
        closeSync(file)
      }
    },

    async size(key) {
      return (await find(key, (path) => stat(path))).size
    },

    async delete(key) {
      for (const location of [path(key), formerPath(key)]) await rm(location, { force: true })
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

/** Yields the bytes of a file, or a range of them, and closes it. */
function createReader(
  file: FileHandle,
  range: ByteRange = { start: 0, end: Infinity },
  { reuse = false }: ReadOptions = {},
) {
  let position = range.start
  let end = range.end + 1
  let piece: Buffer | undefined
  async function next() {
    const length = Math.min(READ_BYTES, end - position)
    if (length === 0) return null
    if (!piece || !reuse) piece = Buffer.allocUnsafeSlow(length)
    const { bytesRead } = await file.read(piece, 0, length, position)
    position += bytesRead
    if (bytesRead < length) end = position // of the file
    return bytesRead > 0 ? piece.subarray(0, bytesRead) : null
  }
  return new Readable({
    // Nothing is read ahead: the last piece has gone when the next is asked for.
    highWaterMark: 0,
    read() {
      next().then(
        (bytes) => this.push(bytes),
        (error) => this.destroy(error),
      )
    },
    // It waits for the read that is under way.
    destroy(error, done) {
      file.close().then(() => done(error), done)
    },
  })
}

/** Takes in the bytes of a new file and makes them durable. */
function createWriter(file: FileHandle) {
  let unflushed = 0
  let flushing: Promise<void> | undefined
  let fault: unknown

  async function write(chunks: Buffer[]) {
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    const { bytesWritten } = await file.writev(chunks)
    // Not all of it may have gone: the rest goes, or tells why it can't.
    if (bytesWritten < bytes) await file.writeFile(Buffer.concat(chunks).subarray(bytesWritten))
    unflushed += bytes
    if (unflushed >= FLUSH_BYTES && !flushing) flushOnTheWay()
  }

  function flushOnTheWay() {
    unflushed = 0
    flushing = file
      .datasync()
      .catch((error) => {
        // The system tells a fault once (fsync(2)), so it is kept for the flush at the end.
        fault ??= error
      })
      .finally(() => {
        flushing = undefined
      })
  }

  return {
    stream: new Writable({
      highWaterMark: WRITE_BYTES,
      write: (chunk, _encoding, done) => {
        write([chunk]).then(() => done(), done)
      },
      writev: (chunks, done) => {
        write(chunks.map(({ chunk }) => chunk)).then(() => done(), done)
      },
    }),
    /** After the last byte. */
    async flush() {
      await flushing
      if (fault) throw fault
      await file.datasync()
    },
  }
}

/** Makes folders that survive a power cut: the one that gets a new entry is flushed. */
function createFolders() {
  const made = new Map<string, Promise<void>>()

  async function makeAndFlush(folder: string) {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Also where it was there: who made it may have died before this.
    await syncFolder(dirname(folder))
  }

  return {
    /** Resolves when the folder is there for good, for all who wait for it. Its parent is there already. */
    make(folder: string) {
      const making = made.get(folder) ?? makeAndFlush(folder)
      made.set(folder, making)
      making.catch(() => made.delete(folder))
      return making
    },
    /** The next time it is made anew. */
    forget(folder: string) {
      made.delete(folder)
    },
  }
}

async function syncFolder(folder: string) {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? ''

const isMissing = (error: unknown) => codeOf(error) === 'ENOENT'

const FULL = new Set(['ENOSPC', 'EDQUOT'])
// The disk fails, is read-only, not mounted or not ours at the moment; or the process has run out of file descriptors.
const AWAY = new Set([
  'EIO',
  'EROFS',
  'EACCES',
  'EPERM',
  'ENOENT',
  'ENOTDIR',
  'ESTALE',
  'ENODEV',
  'EMFILE',
  'ENFILE',
])

function asStoreFault(error: unknown) {
  if (FULL.has(codeOf(error)))
    return new StoreFull('there is no room left in the object store', { cause: error })
  return AWAY.has(codeOf(error)) ? new StoreUnavailable('object store', { cause: error }) : error
}
