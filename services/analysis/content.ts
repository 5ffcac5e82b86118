import { type FileHandle, mkdtemp, open, readdir, rm, rmdir, stat, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type HasPaths, hasPaths, type ObjectStore } from '../../stores/objects/object-store.ts'
import type { FileContent } from './sandbox/decoder.ts'

/** A file up to this size is sent to a decoder as bytes. For a larger one, a separate process gets the open file. */
const MAX_BYTES = 2 ** 25

/** Gives `work` an object's content in the form that a decoder takes. */
export async function withContent<T>(
  store: ObjectStore,
  key: string,
  work: (content: FileContent) => Promise<T>,
): Promise<T> {
  if (hasPaths(store)) {
    await using file = await openObject(store, key)
    const { size } = await file.stat()
    return await work(size > MAX_BYTES ? { descriptor: file.fd } : { file, size })
  }
  const chunks: Buffer[] = []
  let size = 0
  const stream = await store.get(key)
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size <= MAX_BYTES) continue
    await using file = await openTemporary()
    await file.writev(chunks)
    for await (const rest of stream as AsyncIterable<Buffer>) await file.writeFile(rest)
    return await work({ descriptor: file.fd })
  }
  return work(chunks)
}

/** @throws an error of the store if there is no such object */
async function openObject(store: ObjectStore & HasPaths, key: string): Promise<FileHandle> {
  try {
    return await open(store.path(key))
  } catch (error) {
    await store.size(key)
    throw error
  }
}

const PREFIX = 'hasty-object-'

/** Opens a temporary file that has no name any more: it cannot be left behind. */
async function openTemporary() {
  const folder = await mkdtemp(join(tmpdir(), PREFIX))
  const path = join(folder, 'object')
  const file = await open(path, 'wx+', 0o600)
  await unlink(path)
  await rmdir(folder)
  return file
}

const LEFT_BEHIND_AFTER_MS = 60_000

/** Removes temporary files of a process that was killed while it created them. */
export async function removeTemporaryFiles(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue
    const path = join(tmpdir(), name)
    const found = await stat(path).catch(() => undefined)
    if (found && Date.now() - found.mtimeMs > LEFT_BEHIND_AFTER_MS)
      await rm(path, { recursive: true, force: true })
  }
}
