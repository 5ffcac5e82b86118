import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { isMissing, toStoreFault } from '../file-faults.ts'
import { type AppendOptions, RESUMABLE, type UnfinishedObject, UploadLost } from '../object-store.ts'
import { syncFolder } from './folders.ts'
import type { Root } from './root.ts'
import { createWriter } from './writer.ts'

/** How often the bytes of a long append are made durable, in milliseconds. A killed process loses at most these bytes. */
const CHECKPOINT_MS = 1_000

/**
 * The bytes are flushed in the background each time this many were written. The client waits for the last flush, and sends
 * nothing meanwhile: so little should be left for it.
 */
const FLUSH_BYTES = 2 * 1024 * 1024

/**
 * The bytes of an unfinished object are in segments: files in `incoming/`. A writer continues the last segment only if
 * the previous writer has ended. Otherwise it begins a new one, and what the previous writer still writes is ignored,
 * because the durable bytes of each segment are known.
 */
interface Segment {
  name: string
  /** Durable bytes. The file may have more. */
  bytes: number
}

interface Details {
  segments: Segment[]
  /** A writer that was replaced may still have a segment open. So the object must be a copy of the segments. */
  mustCopy: boolean
}

const detailsOf = ({ details }: UnfinishedObject) => details as Details

const stateOf = (key: string, segments: Segment[], mustCopy: boolean): UnfinishedObject => ({
  key,
  size: segments.reduce((sum, { bytes }) => sum + bytes, 0),
  details: { segments, mustCopy } satisfies Details,
})

export const begin = (key: string) => stateOf(key, [], false)

const pathOf = (root: Root, { name }: Segment) => join(root.path, RESUMABLE + name)

export async function append(
  root: Root,
  upload: UnfinishedObject,
  source: Readable,
  { checkpoint, exclusive }: AppendOptions,
): Promise<UnfinishedObject> {
  // An error before the pipeline starts has no other listener. The pipeline reports it.
  source.on('error', () => {})
  const mustCopy = detailsOf(upload).mustCopy || !exclusive
  const { file, sealed, segment } = await openSegment(root, upload, exclusive).catch((error) => {
    source.destroy()
    throw toStoreFault(error)
  })
  const writer = createWriter(file, { position: segment.bytes, flushBytes: FLUSH_BYTES })
  let saved = upload

  async function save(isLast: boolean) {
    const bytes = segment.bytes + writer.written
    if (upload.size + writer.written === saved.size) return
    await writer.flush()
    if (segment.bytes === 0 && saved.size === upload.size) await syncFolder(root.incoming)
    const state = stateOf(upload.key, [...sealed, { ...segment, bytes }], mustCopy)
    if (await checkpoint(state, isLast)) saved = state
  }

  const saver = saveRepeatedly(
    () => save(false),
    (error) => source.destroy(error),
  )
  try {
    if (!exclusive) {
      const state = stateOf(upload.key, sealed, mustCopy)
      if (await checkpoint(state, false)) saved = state
    }
    await pipeline(source, writer.stream)
    await saver.end()
    await save(true)
    return saved
  } catch (error) {
    source.destroy()
    await saver.end().catch(() => {})
    // Keeps the bytes that were written before the disk was full.
    if (!saver.hasFailed) await save(false).catch(() => {})
    throw toStoreFault(error)
  } finally {
    await file.close()
    if (segment.bytes === 0 && saved.size === upload.size)
      await rm(pathOf(root, segment), { force: true }).catch(() => {})
  }
}

/** Calls `save` about every second, never twice at the same time. */
function saveRepeatedly(save: () => Promise<void>, onError: (error: Error) => void) {
  let saving: Promise<void> | undefined
  let failure: Error | undefined
  const timer = setInterval(() => {
    saving ??= save()
      .catch((error) => {
        failure = error
        onError(error)
      })
      .finally(() => {
        saving = undefined
      })
  }, CHECKPOINT_MS)
  return {
    get hasFailed() {
      return failure !== undefined
    },
    async end() {
      clearInterval(timer)
      await saving
      if (failure) throw failure
    },
  }
}

/** Opens the segment to write to. `sealed` are the segments before it. */
async function openSegment(root: Root, upload: UnfinishedObject, exclusive: boolean) {
  const { segments } = detailsOf(upload)
  const last = segments.at(-1)
  if (!last || !exclusive) {
    const segment = { name: `${upload.key}-${randomUUID()}`, bytes: 0 }
    return { file: await open(pathOf(root, segment), 'wx', 0o600), sealed: segments, segment }
  }
  const file = await openExisting(root, last)
  try {
    const { size } = await file.stat()
    if (size < last.bytes) throw new UploadLost('A segment is shorter than its durable bytes.')
    if (size > last.bytes) await file.truncate(last.bytes)
  } catch (error) {
    await file.close()
    throw error
  }
  return { file, sealed: segments.slice(0, -1), segment: last }
}

async function openExisting(root: Root, segment: Segment): Promise<FileHandle> {
  try {
    return await open(pathOf(root, segment), 'r+')
  } catch (error) {
    throw isMissing(error) ? new UploadLost('A segment is missing.') : error
  }
}

export async function sizeOfUnfinished(root: Root, upload: UnfinishedObject) {
  let size = 0
  for (const segment of detailsOf(upload).segments) {
    const file = await stat(pathOf(root, segment)).catch((error) => {
      if (isMissing(error)) return undefined
      throw toStoreFault(error)
    })
    size += Math.min(file?.size ?? 0, segment.bytes)
    if (!file || file.size < segment.bytes) return size
  }
  return size
}

/**
 * Makes one file of the segments, with exactly their durable bytes. It is the only segment itself if its writer has
 * ended; the caller then renames it. Several segments are copied, because their writers may still have them open.
 */
export async function joinSegments(root: Root, upload: UnfinishedObject): Promise<string> {
  const { segments, mustCopy } = detailsOf(upload)
  if ((await sizeOfUnfinished(root, upload)) < upload.size)
    throw new UploadLost('Bytes of the upload are missing.')
  const [only] = segments
  if (only && segments.length === 1 && !mustCopy) {
    const path = pathOf(root, only)
    const file = await open(path, 'r+')
    try {
      await file.truncate(only.bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    return path
  }
  const joined = pathOf(root, { name: `${upload.key}-${randomUUID()}`, bytes: 0 })
  const file = await open(joined, 'wx', 0o600)
  try {
    let position = 0
    for (const segment of segments) {
      const from = createReadStream(pathOf(root, segment), { end: segment.bytes - 1 })
      await pipeline(from, createWriter(file, { position }).stream)
      position += segment.bytes
    }
    await file.sync()
  } catch (error) {
    await rm(joined, { force: true })
    throw error
  } finally {
    await file.close()
  }
  return joined
}

export async function abandon(root: Root, upload: UnfinishedObject) {
  for (const segment of detailsOf(upload).segments) await rm(pathOf(root, segment), { force: true })
}
