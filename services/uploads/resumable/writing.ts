import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream'
import { type ResumableRow, WriterReplaced } from '../../../stores/data/interfaces/resumable-uploads.ts'
import type { Stores } from '../../../stores/index.ts'
import { StoreFull, UploadLost } from '../../../stores/objects/object-store.ts'
import * as errors from '../../errors.ts'
import { Rejection } from '../../errors.ts'
import { countRejection } from '../counts.ts'
import type { PartOptions } from '../receive-part.ts'
import { reasonOf } from '../rejections.ts'
import type { createCompletion } from './complete.ts'
import type { createDigestings } from './digesting.ts'
import type { HeldUpload } from './held-upload.ts'
import { Intake } from './intake.ts'
import { removeBytes, storeOf, unfinishedOf } from './remove.ts'
import { type Appended, stateOf, type UploadState } from './upload.ts'
import type { Stopper } from './writers.ts'

// The work of a writer: append bytes, complete an upload, or reject it.

/** What the functions of this file use. */
export interface Writing extends Pick<PartOptions, 'counts'> {
  stores: Stores
  digestings: ReturnType<typeof createDigestings>
  complete: ReturnType<typeof createCompletion>
  /** Bytes. */
  maxFileSize: number
}

/**
 * Does `work` as the writer of an upload, and ends the writer.
 *
 * @throws {UploadTakenOver | InsufficientStorage | UploadGone}
 */
export async function asWriter<T>({ stores }: Writing, held: HeldUpload, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw await toProblem(stores, error, held)
  } finally {
    if (!held.isReleased) await stores.data.resumable.release(held.key).catch(() => {})
  }
}

/** Converts an error of a store. If the store has lost bytes, the upload is removed. */
async function toProblem(stores: Stores, error: unknown, { row, key }: HeldUpload) {
  if (error instanceof WriterReplaced) return new errors.UploadTakenOver()
  if (error instanceof StoreFull) return new errors.InsufficientStorage()
  if (!(error instanceof UploadLost)) return error
  await removeBytes(stores, row).catch(() => {})
  await stores.data.resumable.remove(key.id)
  return new errors.UploadGone()
}

/** Ends an upload that is not accepted. */
async function reject(
  { stores, digestings, counts }: Writing,
  held: HeldUpload,
  error: unknown,
): Promise<UploadState> {
  const { row, key } = held
  const reason = reasonOf(error)
  const answer = { processed: [], rejected: [{ name: row.name, reason }] }
  await stores.data.resumable.reject(key, answer)
  digestings.delete(row.id)
  countRejection(counts[row.method], reason)
  await removeBytes(stores, row).catch(() => {}) // if it fails, the sweep removes them
  return stateOf({ ...row, answer })
}

/**
 * Appends a body to an upload, and completes the upload if that was its end.
 *
 * @throws {InconsistentUploadLength | ChecksumMismatch | UploadTakenOver | InsufficientStorage | UploadGone | Busy}
 */
export async function appendTo(
  writing: Writing,
  held: HeldUpload,
  body: Appended,
  stopper: Stopper,
): Promise<UploadState> {
  const most = held.row.length ?? writing.maxFileSize
  const intake = new Intake(body.stream, most - held.row.size, body.digests)
  stopper.watch(intake)
  return asWriter(writing, held, async () => {
    try {
      const added = await store(writing, held, intake, body)
      if (intake.isTooLong) return await refuseExcess(writing, added)
      if (!intake.isEnded) {
        body.stream.resume()
        if (!body.stream.destroyed) throw new errors.UploadTakenOver()
        return stateOf(added.row)
      }
      const { size, length } = added.row
      if (body.isLast ?? size === length) {
        if (length !== null && size !== length) throw new errors.InconsistentUploadLength()
        return stateOf(await writing.complete(added))
      }
      return stateOf(added.row)
    } catch (error) {
      if (error instanceof Rejection && isFinal(error)) return reject(writing, held, error)
      throw error
    }
  })
}

/** More bytes than the declared length make an upload invalid; more than the maximum size reject it. */
async function refuseExcess({ stores, maxFileSize }: Writing, held: HeldUpload): Promise<never> {
  if (held.row.length === null || held.row.length > maxFileSize) throw new Rejection('too_large')
  await removeBytes(stores, held.row).catch(() => {})
  await stores.data.resumable.remove(held.row.id)
  throw new errors.InconsistentUploadLength()
}

/** Appends the bytes of one body to the store, and records their number. */
async function store(
  { stores, digestings }: Writing,
  held: HeldUpload,
  intake: Intake,
  body: Appended,
): Promise<HeldUpload> {
  let { row } = held
  const objects = storeOf(stores, row)
  const digesting = digestings.take(row)
  const follows = digesting.hashing.size === row.size
  const source = follows ? hashed(intake, digesting.hashing.open()) : intake.bytes
  const save = async ({ size, details }: { size: number; details: object }, isLast = false) => {
    // The last bytes of a request that does not complete the upload also end its writer, which saves a flush.
    const completes = body.isLast ?? size === row.length
    held.isReleased = isLast && !completes && !intake.isTooLong
    await stores.data.resumable.save(
      held.key,
      { size, details, length: row.length },
      { isLast: held.isReleased },
    )
    row = { ...row, size, details }
    held.row = row
    body.onProgress?.(size)
  }
  const state = await objects.append(unfinishedOf(objects, row), source, {
    exclusive: held.exclusive,
    checkpoint: async (next, isLast) => {
      // Bytes with a digest are only recorded when it was compared.
      if (intake.hasDigest && !intake.isEnded) return false
      if (!intake.matchesDigests()) throw new errors.ChecksumMismatch()
      await save(next, isLast)
      return true
    },
  })
  const isComplete = body.isLast && intake.isEnded
  if (isComplete && row.length === null) row = { ...row, length: state.size }
  if (isComplete || (held.statesLength && state.size === held.row.size)) await save(state)
  if (!follows || digesting.hashing.size === state.size) digestings.put(row.id, digesting)
  return { ...held, row, exclusive: true }
}

/** Completes an upload whose bytes have all arrived. A file that is not accepted gets its reason as the answer. */
export async function completeOrReject(writing: Writing, held: HeldUpload): Promise<ResumableRow> {
  try {
    return await writing.complete(held)
  } catch (error) {
    if (!(error instanceof Rejection && isFinal(error))) throw error
    return { ...held.row, answer: (await reject(writing, held, error)).answer! }
  }
}

/** The bytes of a request on their way through the hash. A failure of one end ends the other. */
function hashed(intake: Intake, hash: ReturnType<Intake['bytes']['pipe']> & NodeJS.ReadWriteStream) {
  return pipeline(intake.bytes, hash, () => {}) as unknown as Readable
}

/** Whether a rejection is the result of the upload. Otherwise the client may try again. */
const isFinal = ({ reason }: Rejection) => !['busy', 'insufficient_storage', 'incomplete'].includes(reason)
