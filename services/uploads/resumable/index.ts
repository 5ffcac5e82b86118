import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream'
import type { UploadAnswer } from '../../../schemas/uploads.ts'
import { type LinkRow, type ResumableRow, WriterReplaced } from '../../../stores/data/data-store.ts'
import { StoreFull, UploadLost } from '../../../stores/objects/object-store.ts'
import * as errors from '../../errors.ts'
import { Rejection } from '../../errors.ts'
import { newId } from '../../ids.ts'
import type { Links } from '../../links/index.ts'
import { readSender, requireSender, type Sender } from '../../links/rules.ts'
import type { Admission } from '../admission.ts'
import { countRejection } from '../counts.ts'
import type { Digests } from '../digests.ts'
import { cleanName } from '../names.ts'
import type { PartOptions } from '../receive-part.ts'
import { reasonOf } from '../rejections.ts'
import type { UploadRequest } from '../upload-request.ts'
import { createCompletion } from './complete.ts'
import { createDigestings } from './digesting.ts'
import type { HeldUpload } from './held-upload.ts'
import { type ContentDigest, Intake } from './intake.ts'
import { removeBytes, storeOf, unfinishedOf } from './remove.ts'
import { createWriters, type Stopper } from './writers.ts'

/** The unfinished uploads of one link. */
const UPLOADS_PER_LINK = 100
/** The uploads whose beginnings a process remembers. */
const MAX_REMEMBERED = 1_000

export interface ResumableOptions extends PartOptions {
  links: Links
  admission: Admission
  /** Decides whether a request may upload, before a byte is read. */
  requireLink(request: UploadRequest, startedAt?: Date): Promise<LinkRow>
  /** Bytes. */
  maxFileSize: number
  /** Bytes of all unfinished uploads of a link. */
  bytesPerLink: number
  /** Milliseconds. */
  resumeWithin: number
}

/** A request that is about a resumable upload. */
export interface ResumableRequest extends UploadRequest {
  method: 'tus' | 'draft'
}

/** The data that the sender gives about a new upload. */
export interface NewUpload {
  name: string
  sender?: string | undefined
  message?: string | undefined
  /** Bytes, if the sender knows it. */
  length: number | undefined
  /** Digests of the whole file. */
  digests: Digests
  /** The Upload-Metadata field of tus, as it was sent. */
  metadata?: string | undefined
}

/** The body of a request that appends. */
export interface Appended {
  stream: Readable
  /** The size of the body in bytes, if it is known before its end. */
  size: number | undefined
  digests: readonly ContentDigest[]
  /** Whether the body is the end of the file. Undefined: it is if the length is reached, as in tus. */
  isLast: boolean | undefined
  /** Is called with the number of durable bytes while the body arrives. */
  onProgress?: ((offset: number) => void) | undefined
}

/** The state of an upload. */
export interface UploadState
  extends Pick<ResumableRow, 'id' | 'method' | 'length' | 'metadata' | 'expiresAt'> {
  /** The number of durable bytes. */
  offset: number
  /** The response to the finished upload. */
  answer: UploadAnswer | undefined
}

/** The data that do not change while an upload is unfinished. */
type Beginning = Pick<ResumableRow, 'linkId' | 'startedAt'>

const stateOf = ({ id, method, length, metadata, expiresAt, size, answer }: ResumableRow): UploadState => ({
  id,
  method,
  length,
  metadata,
  expiresAt,
  offset: size,
  answer: answer ?? undefined,
})

/**
 * Receives images in several requests, perhaps in several processes.
 *
 * One request at a time may change an upload: its writer. A new request replaces the writer at once. A writer in this
 * process first saves what it has received. The next change of any other replaced writer fails, so a writer that is dead
 * needs no special treatment. Only a request that completes an upload is not replaced.
 */
export function createResumable(options: ResumableOptions) {
  const { stores, links, admission, requireLink, maxFileSize, bytesPerLink, resumeWithin } = options
  const { resumable } = stores.data
  const writers = createWriters()
  const digestings = createDigestings(options.imageReader, options.inlineLimit)
  const complete = createCompletion({ ...options, digestings })
  /** Unfinished uploads to which this process has appended. It saves a statement for each further piece. */
  const remembered = new Map<string, Beginning>()

  async function find({ linkId }: UploadRequest, id: string) {
    const row = await resumable.find(id)
    if (row?.linkId !== linkId) throw new errors.UploadNotFound()
    return row
  }

  /**
   * The link of an upload, if it still accepts bytes. If the upload has its answer already, the upload: reading it needs no
   * open link.
   *
   * @throws {UploadNotFound | LinkRevoked | LinkUsedUp}
   */
  async function openLinkOf(request: ResumableRequest, id: string): Promise<LinkRow | ResumableRow> {
    const known = remembered.get(id)
    if (known?.linkId !== request.linkId) {
      const found = await find(request, id)
      return found.answer ? found : requireLink(request, found.startedAt)
    }
    try {
      return await requireLink(request, known.startedAt)
    } catch (error) {
      remembered.delete(id)
      const found = await find(request, id)
      if (found.answer) return found
      throw error
    }
  }

  function remember({ id, linkId, startedAt }: ResumableRow) {
    remembered.delete(id)
    remembered.set(id, { linkId, startedAt })
    const [oldest] = remembered.keys()
    if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest)
  }

  /** Becomes the writer of an upload. @throws {UploadNotFound | UploadBusy | Busy} */
  async function take(request: ResumableRequest, id: string) {
    const writer = newId()
    const row = await resumable.take(id, writer)
    if (row === 'completing') throw request.method === 'tus' ? new errors.UploadBusy() : new errors.Busy()
    if (row?.linkId !== request.linkId) throw new errors.UploadNotFound()
    return { row, key: { id, writer }, exclusive: row.writer === null }
  }

  /** Does `work` as a writer, and ends the writer. */
  async function asWriter<T>(held: HeldUpload, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw await toProblem(error, held)
    } finally {
      if (!held.isReleased) await resumable.release(held.key).catch(() => {})
    }
  }

  async function toProblem(error: unknown, { row, key }: HeldUpload) {
    if (error instanceof WriterReplaced) return new errors.UploadTakenOver()
    if (error instanceof StoreFull) return new errors.InsufficientStorage()
    if (!(error instanceof UploadLost)) return error
    await removeBytes(stores, row).catch(() => {})
    await resumable.remove(key.id)
    return new errors.UploadGone()
  }

  /** Ends an upload that is not accepted. */
  async function reject(held: HeldUpload, error: unknown): Promise<UploadState> {
    const { row, key } = held
    const reason = reasonOf(error)
    const answer = { processed: [], rejected: [{ name: row.name, reason }] }
    await resumable.reject(key, answer)
    digestings.delete(row.id)
    countRejection(options.counts[row.method], reason)
    await removeBytes(stores, row).catch(() => {}) // then the sweep does it
    return stateOf({ ...row, answer })
  }

  async function appendTo(held: HeldUpload, body: Appended, stopper: Stopper): Promise<UploadState> {
    const intake = new Intake(body.stream, (held.row.length ?? maxFileSize) - held.row.size, body.digests)
    stopper.watch(intake)
    return asWriter(held, async () => {
      try {
        const added = await store(held, intake, body)
        if (intake.isTooLong) return await refuseExcess(added)
        if (!intake.isEnded) {
          body.stream.resume()
          if (!body.stream.destroyed) throw new errors.UploadTakenOver()
          return stateOf(added.row)
        }
        const { size, length } = added.row
        if (body.isLast ?? size === length) {
          if (length !== null && size !== length) throw new errors.InconsistentUploadLength()
          return stateOf(await complete(added))
        }
        return stateOf(added.row)
      } catch (error) {
        if (error instanceof Rejection && isFinal(error)) return reject(held, error)
        throw error
      }
    })
  }

  /** More bytes than the declared length make an upload invalid; more than the maximum size reject it. */
  async function refuseExcess(held: HeldUpload): Promise<never> {
    if (held.row.length === null || held.row.length > maxFileSize) throw new Rejection('too_large')
    await removeBytes(stores, held.row).catch(() => {})
    await resumable.remove(held.row.id)
    throw new errors.InconsistentUploadLength()
  }

  /** Appends the bytes of one body to the store, and records their number. */
  async function store(held: HeldUpload, intake: Intake, body: Appended): Promise<HeldUpload> {
    let { row } = held
    const objects = storeOf(stores, row)
    const digesting = digestings.take(row)
    const follows = digesting.hashing.size === row.size
    const source = follows ? hashed(intake, digesting.hashing.open()) : intake.bytes
    const save = async ({ size, details }: { size: number; details: object }, isLast = false) => {
      // The last bytes of a request that does not complete the upload also end its writer, which saves a flush.
      const completes = body.isLast ?? size === row.length
      held.isReleased = isLast && !completes && !intake.isTooLong
      await resumable.save(held.key, { size, details, length: row.length }, { isLast: held.isReleased })
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

  return {
    /**
     * Begins an upload, and appends the body of the same request if there is one.
     *
     * @param announce is called with the new upload before the first byte is read
     * @throws {LinkNotFound | LinkExpired | LinkRevoked | LinkUsedUp | TooLarge | TooManyUploads | Busy}
     */
    async create(
      request: ResumableRequest,
      upload: NewUpload,
      body: Appended | undefined,
      announce: (state: UploadState) => void = () => {},
    ): Promise<UploadState> {
      const link = await requireLink(request)
      const length = body ? knownLength({ length: upload.length ?? null }, 0, undefined, body) : upload.length
      requireRoom(link, length ?? undefined, maxFileSize)
      const sender = readSender({
        sender: upload.sender ?? request.given.sender,
        message: upload.message ?? request.given.message,
      })
      requireSender(link, sender)
      const admitted = admission.enter(link, request.network)
      try {
        const row = await insert(request, link, { ...upload, ...sender, length: length ?? undefined })
        announce(stateOf(row))
        const held = { row, key: { id: row.id, writer: row.writer! }, link, exclusive: true }
        return await writers.exclusively(row.id, (stopper) =>
          body
            ? appendTo(held, body, stopper)
            : asWriter(held, async () => stateOf(row.length === 0 ? await completeOrReject(held) : row)),
        )
      } finally {
        admitted.leave()
      }
    },

    /**
     * Appends to an upload.
     *
     * @param length the length of the whole file, if the sender states it with this request
     * @throws {UploadNotFound | UploadGone | UploadTakenOver | MismatchingUploadOffset | CompletedUpload}
     * @throws {InconsistentUploadLength | ChecksumMismatch | LinkRevoked | LinkUsedUp | TooManyUploads | Busy}
     */
    async append(
      request: ResumableRequest,
      id: string,
      { offset, length, body }: { offset: number; length: number | undefined; body: Appended },
    ): Promise<UploadState> {
      return writers.exclusively(id, async (stopper) => {
        const found = await openLinkOf(request, id)
        if ('imageId' in found) return replay(found, offset, body)
        const admitted = admission.enter(found, request.network)
        try {
          if (stopper.isStopped) throw new errors.UploadTakenOver()
          const held: HeldUpload = { ...(await take(request, id)), link: found }
          if (held.row.answer) return replay(held.row, offset, body)
          remember(held.row)
          await checkRequest(held, { offset, length, body })
          return await appendTo(held, body, stopper)
        } finally {
          admitted.leave()
        }
      })
    },

    /**
     * The state of an upload. If all bytes have arrived, but the upload was not completed because a process died or a
     * store did not respond, it is completed now.
     *
     * @param replaceWriter whether a request that still appends is ended, so that the offset does not change any more
     * @throws {UploadNotFound | UploadGone | UploadBusy | Busy}
     */
    async read(request: ResumableRequest, id: string, { replaceWriter = false } = {}): Promise<UploadState> {
      const found = await find(request, id)
      const isFull = found.length !== null && found.size === found.length
      const isIdle = found.writer === null && !writers.isActive(id)
      if (found.answer || (isFull ? !isIdle && !replaceWriter : isIdle || !replaceWriter))
        return stateOf(found)
      return writers.exclusively(id, () => settleState(request, id))
    },

    /** Deletes an upload and its bytes. An image that was recorded stays. @throws {UploadNotFound | UploadBusy | Busy} */
    async remove(request: ResumableRequest, id: string): Promise<void> {
      await writers.exclusively(id, async () => {
        const { row } = await take(request, id)
        digestings.delete(id)
        if (!row.answer) await removeBytes(stores, row)
        await resumable.remove(id)
      })
    },
  }

  /** Makes sure that no other request changes the upload, and completes it if all bytes have arrived. */
  async function settleState(request: ResumableRequest, id: string): Promise<UploadState> {
    const taken = await take(request, id)
    if (taken.row.answer) return stateOf(taken.row)
    const { size, length } = taken.row
    // A link that is not open any more does not prevent reading the state.
    const link = await links.requireOpen(request.linkId, taken.row.startedAt).catch((error) => {
      if (error instanceof errors.Problem) return undefined
      throw error
    })
    const held = { ...taken, link: link! }
    return asWriter(held, async () => {
      const objects = storeOf(stores, held.row)
      if ((await objects.sizeOfUnfinished(unfinishedOf(objects, held.row))) < size && size !== length)
        throw new UploadLost('The store has fewer bytes than were acknowledged.')
      return stateOf(size === length && link ? await completeOrReject(held) : held.row)
    })
  }

  /** Compares what a request states with the upload. Ends the writer if it does not match. */
  async function checkRequest(
    held: HeldUpload,
    { offset, length, body }: { offset: number; length: number | undefined; body: Appended },
  ) {
    try {
      requireOffset(held.row, offset)
      const known = knownLength(held.row, offset, length, body)
      held.statesLength = known !== held.row.length
      held.row = { ...held.row, length: known }
      requireRoom(held.link, known ?? undefined, maxFileSize)
    } catch (error) {
      await resumable.release(held.key)
      throw error
    }
  }

  async function completeOrReject(held: HeldUpload): Promise<ResumableRow> {
    try {
      return await complete(held)
    } catch (error) {
      if (!(error instanceof Rejection && isFinal(error))) throw error
      return { ...held.row, answer: (await reject(held, error)).answer! }
    }
  }

  async function insert(
    request: ResumableRequest,
    link: LinkRow,
    upload: Omit<NewUpload, keyof Sender> & Sender,
  ) {
    const inserted = await resumable.insert(
      {
        id: newId(),
        linkId: link.id,
        method: request.method,
        imageId: newId(),
        region: link.region,
        name: cleanName(upload.name),
        sender: upload.sender,
        message: upload.message,
        metadata: upload.metadata ?? null,
        digests: Object.fromEntries(
          [...upload.digests].map(([algorithm, digest]) => [algorithm, digest.toString('base64')]),
        ),
        length: upload.length ?? null,
        writer: newId(),
      },
      {
        uploads: UPLOADS_PER_LINK,
        bytes: bytesPerLink,
        bytesWithoutLength: maxFileSize,
        milliseconds: resumeWithin,
      },
    )
    if (inserted === 'too_many_uploads') throw new errors.TooManyUploads()
    if (inserted === 'too_many_bytes') throw new errors.Busy()
    return inserted
  }
}

/** The bytes of a request on their way through the hash. A failure of one end ends the other. */
function hashed(intake: Intake, hash: ReturnType<Intake['bytes']['pipe']> & NodeJS.ReadWriteStream) {
  return pipeline(intake.bytes, hash, () => {}) as unknown as Readable
}

/** Whether a rejection is the result of the upload. Otherwise the client may try again. */
const isFinal = ({ reason }: Rejection) => !['busy', 'insufficient_storage', 'incomplete'].includes(reason)

function requireRoom(link: LinkRow, length: number | undefined, maxFileSize: number) {
  if (length === undefined) return
  const most = Math.min(link.maxFileSize ?? maxFileSize, maxFileSize)
  if (length > most) throw new errors.TooLarge({ detail: `Send a file of at most ${most} bytes.` })
  if (link.maxBytes !== null && length > link.maxBytes - link.usedBytes) throw new errors.LinkUsedUp()
}

function requireOffset({ size }: ResumableRow, offset: number) {
  if (offset !== size) throw new errors.MismatchingUploadOffset({ expected: size, provided: offset })
}

/** The length of the upload, after a request that may state it. @throws {InconsistentUploadLength} */
function knownLength(
  row: Pick<ResumableRow, 'length'>,
  offset: number,
  stated: number | undefined,
  { size, isLast }: Appended,
) {
  const end = size === undefined ? undefined : offset + size
  const lengths = [row.length ?? undefined, stated, isLast ? end : undefined].filter((l) => l !== undefined)
  const [length] = lengths
  if (lengths.some((other) => other !== length)) throw new errors.InconsistentUploadLength()
  if (length !== undefined && (end ?? offset) > length) throw new errors.InconsistentUploadLength()
  return length ?? null
}

/** The response to a request that sends the end of a completed upload again, because the response was lost. */
function replay(row: ResumableRow, offset: number, { size, stream }: Appended) {
  stream.resume()
  if (offset !== row.size || size !== 0) throw new errors.CompletedUpload()
  return stateOf(row)
}
