import { buffer } from 'node:stream/consumers'
import type { UploadAnswer } from '../../../schemas/uploads.ts'
import type { ResumableRow } from '../../../stores/data/interfaces/resumable-uploads.ts'
import type { RecordedUpload } from '../../../stores/data/interfaces/uploads.ts'
import type { StagedObject } from '../../../stores/objects/object-store.ts'
import { Rejection } from '../../errors.ts'
import {
  createSettle,
  type PartOptions,
  type Recorder,
  type StagedPart,
  toProcessed,
  verifiedHash,
} from '../receive-part.ts'
import { FRONT_BYTES } from '../sniffer.ts'
import { addStored, type createDigestings, type Digesting } from './digesting.ts'
import type { HeldUpload } from './held-upload.ts'
import { noBody } from './intake.ts'
import { storeOf, unfinishedOf } from './remove.ts'

/** A client that continues the upload of a dead process waits for the end of this time. */
const LEASE_MS = 5_000

/**
 * Creates the function that completes an upload whose bytes have all arrived. It ends in `settle`, like every upload.
 *
 * The image, the upload, the counts and the response are recorded in one transaction, and only if no other request has
 * taken over. So an upload is recorded exactly once, even if a process dies at any time.
 *
 * @throws {Rejection | WriterReplaced | UploadLost | StoreFull} by the function
 */
export function createCompletion(options: PartOptions & { digestings: ReturnType<typeof createDigestings> }) {
  const { stores, digestings, inlineLimit } = options
  const { resumable } = stores.data
  const settle = createSettle(options)

  async function completeHeld(held: HeldUpload): Promise<ResumableRow> {
    const { row, link, key } = held
    if (row.size === 0) throw new Rejection('empty')
    const { digesting, staged } = await prepare(held)
    const digests = new Map(
      Object.entries(row.digests).map(([algorithm, value]) => [algorithm, Buffer.from(value, 'base64')]),
    )
    const received = {
      link,
      name: row.name,
      startedAt: row.startedAt,
      hash: verifiedHash(digesting.hashing, digests),
      size: row.size,
      sender: row.sender,
      message: row.message,
    }
    let answer: UploadAnswer | undefined
    const answerOf = (recorded: RecordedUpload) => {
      answer = { processed: [toProcessed(received, recorded)], rejected: [] }
      return answer
    }
    const recorder: Recorder = {
      record: (file, image) => resumable.recordNew(key, file, image, answerOf),
      recordKnown: (file) => resumable.recordKnown(key, file, answerOf),
    }
    const store = storeOf(stores, row)
    const { sniffer } = digesting
    const part: StagedPart = { id: row.imageId, method: row.method, received, sniffer, store, staged }
    await settle(part, recorder)
    return { ...row, answer: answer! }
  }

  /**
   * Hashes the bytes that this process has not received, and prepares the object. Bytes of an unfinished upload cannot be
   * read from every store. Therefore the object is made first, if bytes have to be read.
   */
  async function prepare({ row, key, exclusive }: HeldUpload) {
    const store = storeOf(stores, row)
    let upload = unfinishedOf(store, row)
    if (!exclusive) {
      const checkpoint = async (state: typeof upload) => {
        await resumable.save(key, { ...row, ...state })
        return true
      }
      upload = await store.append(upload, noBody(), { exclusive, checkpoint })
    }
    const digesting: Digesting = digestings.take(row)
    const isInline = row.size > FRONT_BYTES && row.size <= inlineLimit
    if (digesting.hashing.size === row.size && !isInline) {
      const staged: StagedObject = {
        commit: () => store.finish(upload),
        discard: () => store.abandon(upload),
      }
      return { digesting, staged }
    }
    await store.finish(upload)
    const { size } = digesting.hashing
    if (size < row.size)
      await addStored(digesting, await store.get(row.imageId, { start: size, end: row.size - 1 }))
    const content = isInline ? { content: await buffer(await store.get(row.imageId)) } : {}
    const staged: StagedObject = {
      ...content,
      commit: async () => {},
      discard: () => store.delete(row.imageId),
    }
    return { digesting, staged }
  }

  return async (held: HeldUpload): Promise<ResumableRow> => {
    const hold = () => resumable.completing(held.key, LEASE_MS)
    await hold()
    const holding = setInterval(() => hold().catch(() => {}), LEASE_MS / 3)
    try {
      return await completeHeld(held)
    } finally {
      clearInterval(holding)
    }
  }
}
