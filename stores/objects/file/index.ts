import { randomUUID } from 'node:crypto'
import { closeSync, constants, open as openCallback, read as readCallback } from 'node:fs'
import { access, mkdir, open, opendir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { StoreUnavailable } from '../../unavailable.ts'
import { isMissing, toStoreFault } from '../file-faults.ts'
import {
  type Appendable,
  type HasPaths,
  INCOMING,
  INSTALLATION,
  isObjectKey,
  ObjectNotFound,
  type ObjectStore,
  RESUMABLE,
  type ReadsWhole,
  type StagedObject,
  type StoredObject,
  TRASH,
  type UnfinishedObject,
  UploadLost,
  WrongSize,
} from '../object-store.ts'
import { abandon, append, begin, joinSegments, sizeOfUnfinished } from './append.ts'
import { createFolders, syncFolder } from './folders.ts'
import { createReader } from './reader.ts'
import type { Root } from './root.ts'
import { createWriter } from './writer.ts'

const openDescriptor = promisify(openCallback)
const readDescriptor = promisify(readCallback)

/** A staged file that was not written to for this time belongs to a dead process. */
const STALE_MS = 3_600_000

/**
 * Objects as files in the folder of a `file:` URL.
 *
 * The object `abcd…` is the file `ab/abcd…`: with folders by the first two letters, ten million objects are about 2,600
 * files in each of 3,844 folders. With a second level, nearly every object would need a new folder, which has to be
 * flushed.
 *
 * An object is staged in `incoming/`. To commit it, the file is flushed and renamed, and its folder is flushed. So a file
 * outside `incoming/` is always complete.
 */
export async function createFileStore(url: URL): Promise<ObjectStore & HasPaths & ReadsWhole & Appendable> {
  const path = fileURLToPath(url)
  const root: Root = { path, incoming: join(path, INCOMING), folders: createFolders() }
  if (await readInstallation(root)) await prepare(root)
  return {
    path: (key) => pathOf(root, key),
    stage: (key, source) => stage(root, key, source),
    get: async (key, range, options) =>
      createReader(await find(root, key, (path) => open(path)), range, options),
    readWhole: (key, size) => readWhole(root, key, size),
    size: async (key) => (await find(root, key, (path) => stat(path))).size,
    delete: (key) => rm(pathOf(root, key), { force: true }).catch(rethrow),
    rename: (from, to) => moveObject(root, from, to),
    list: () => list(root),
    begin,
    append: (upload, source, options) => append(root, upload, source, options),
    sizeOfUnfinished: (upload) => sizeOfUnfinished(root, upload),
    finish: (upload) => finish(root, upload).catch(rethrow),
    abandon: (upload) => abandon(root, upload).catch(rethrow),
    readInstallation: () => readInstallation(root),
    writeInstallation: (id) => writeInstallation(root, id).catch(rethrow),
    ping: () => ping(root),
  }
}

const pathOf = (root: Root, key: string) =>
  key.startsWith(INCOMING) || key.startsWith(TRASH)
    ? join(root.path, key)
    : join(root.path, key.slice(0, 2), key)

/**
 * Makes the folders of a store that has an owner. Without an owner, nothing is made: the folder may be the mount point of
 * a volume that is not mounted, and objects would fill the disk below it.
 */
async function prepare({ incoming }: Root) {
  await mkdir(incoming, { recursive: true, mode: 0o700 })
  await removeStale(incoming)
}

/** Deletes staged files of dead processes. Another process may be using the store, so only old ones are deleted. */
async function removeStale(folder: string) {
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    // The sweep deletes these after RESUME_WITHIN.
    if (join(folder, name).includes(`/${RESUMABLE}`)) continue
    const file = await stat(path).catch(() => undefined)
    if (file && Date.now() - file.mtimeMs > STALE_MS) await rm(path, { force: true })
  }
}

async function readInstallation(root: Root) {
  try {
    return (await readFile(join(root.path, INSTALLATION), 'utf8')).trim()
  } catch (error) {
    if (isMissing(error)) return undefined
    throw toStoreFault(error)
  }
}

async function writeInstallation(root: Root, id: string) {
  await mkdir(root.path, { recursive: true, mode: 0o700 })
  await prepare(root)
  const temporary = join(root.incoming, randomUUID())
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(`${id}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(root.path, INSTALLATION))
  await syncFolder(root.path)
}

async function ping(root: Root) {
  await access(join(root.path, INSTALLATION), constants.R_OK).catch((error) => {
    throw isMissing(error)
      ? new StoreUnavailable(
          'object store',
          { cause: error },
          `has no file ${INSTALLATION} any more: its volume is probably not mounted`,
        )
      : toStoreFault(error)
  })
  await access(root.incoming, constants.W_OK).catch(rethrow)
}

const rethrow = (error: unknown): never => {
  throw toStoreFault(error)
}

async function stage(root: Root, key: string, source: Readable): Promise<StagedObject> {
  // An error before the pipeline starts has no other listener. The pipeline reports it.
  source.on('error', () => {})
  const temporary = join(root.incoming, randomUUID())
  const file = await open(temporary, 'wx', 0o600).catch((error) => {
    source.destroy()
    throw toStoreFault(error)
  })
  const discard = async () => {
    await file.close().catch(() => {})
    await rm(temporary, { force: true })
  }
  const fail = async (error: unknown) => {
    await discard()
    throw toStoreFault(error)
  }
  const writer = createWriter(file)
  await pipeline(source, writer.stream).catch(fail)

  return {
    content: { path: temporary },
    discard,
    async commit() {
      const target = pathOf(root, key)
      try {
        await writer.flush()
        await file.close()
        await renameDurably(root, temporary, target)
      } catch (error) {
        await rm(target, { force: true }).catch(() => {})
        await fail(error)
      }
    },
  }
}

async function finish(root: Root, upload: UnfinishedObject) {
  const target = pathOf(root, upload.key)
  const isThere = async () => (await stat(target).catch(() => undefined))?.size === upload.size
  // An earlier attempt may have ended after the rename.
  const joined = await joinSegments(root, upload).catch(async (error) => {
    if (error instanceof UploadLost && (await isThere())) return undefined
    throw error
  })
  if (joined) await renameDurably(root, joined, target)
  await abandon(root, upload)
}

/** Renames a file and makes its new name durable. Makes the folder if necessary. */
async function renameDurably({ folders }: Root, from: string, to: string) {
  const folder = dirname(to)
  await folders.make(folder)
  await rename(from, to).catch(async (error) => {
    if (!isMissing(error)) throw error
    // Another program has removed the folder.
    folders.forget(folder)
    await folders.make(folder)
    await rename(from, to)
  })
  await syncFolder(folder)
}

async function moveObject(root: Root, from: string, to: string) {
  // The time is changed first: if the process ends in between, the object is only younger.
  const now = new Date()
  await find(root, from, (path) => utimes(path, now, now))
  await renameDurably(root, pathOf(root, from), pathOf(root, to)).catch(rethrow)
}

async function readWhole(root: Root, key: string, size: number) {
  const file = await find(root, key, (path) => openDescriptor(path, 'r'))
  try {
    // One byte more, to notice a file that is longer.
    const bytes = Buffer.allocUnsafeSlow(size + 1)
    let length = 0
    do {
      const { bytesRead } = await readDescriptor(file, bytes, length, size + 1 - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    } while (length < size)
    if (length !== size) throw new WrongSize(key, size)
    return bytes.subarray(0, size)
  } catch (error) {
    throw toStoreFault(error)
  } finally {
    // Closing a file that was only read does not block. Closing it in a thread takes longer.
    closeSync(file)
  }
}

async function* list(root: Root): AsyncGenerator<StoredObject> {
  for await (const entry of await opendir(root.path, { recursive: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const key = keyOf(root, path)
    const file = key && (await stat(path).catch(() => undefined))
    if (key && file) yield { key, size: file.size, modifiedAt: file.mtime }
  }
}

/** The key of a file; undefined if it is not Hasty's. */
function keyOf(root: Root, path: string) {
  const name = basename(path)
  for (const key of [name, TRASH + name, INCOMING + name])
    if (pathOf(root, key) === path && (isObjectKey(key) || key.startsWith(INCOMING))) return key
  return undefined
}

/** Opens the file of an object, or reads its attributes. */
async function find<T>(root: Root, key: string, use: (path: string) => Promise<T>) {
  try {
    return await use(pathOf(root, key))
  } catch (error) {
    throw isMissing(error) ? new ObjectNotFound(`There is no object ${key}.`) : toStoreFault(error)
  }
}
