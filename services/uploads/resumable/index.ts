import type { LinkRow } from '../../../stores/data/interfaces/links.ts'
import { UploadLost } from '../../../stores/objects/object-store.ts'
import * as errors from '../../errors.ts'
import { newId } from '../../ids.ts'
import type { Links } from '../../links/index.ts'
import { readSender, requireSender, type Sender } from '../../links/rules.ts'
import type { Admission } from '../admission.ts'
import { cleanName } from '../names.ts'
import type { PartOptions } from '../receive-part.ts'
import { knownLength, replay, requireOffset, requireRoom } from './checks.ts'
import { createCompletion } from './complete.ts'
import { createDigestings } from './digesting.ts'
import type { HeldUpload } from './held-upload.ts'
import { createUploadLinks, type RequireLink } from './links.ts'
import { removeBytes, storeOf, unfinishedOf } from './remove.ts'
import { type Appended, type NewUpload, type ResumableRequest, stateOf, type UploadState } from './upload.ts'
import { createWriters } from './writers.ts'
import { appendTo, asWriter, completeOrReject, type Writing } from './writing.ts'

/** The most unfinished uploads of one link. */
const UPLOADS_PER_LINK = 100

export interface ResumableOptions extends PartOptions {
  links: Links
  admission: Admission
  requireLink: RequireLink
  /** Bytes. */
  maxFileSize: number
  /** Bytes of all unfinished uploads of a link. */
  bytesPerLink: number
  /** Milliseconds. */
  resumeWithin: number
}

/**
 * Receives images in several requests, perhaps in several processes.
 *
 * One request at a time may change an upload: its writer. A new request replaces the writer at once. A writer in this
 * process first saves what it has received. The next change of any other replaced writer fails, so a writer that is dead
 * needs no special treatment. Only a request that completes an upload is not replaced.
 */
export function createResumable(options: ResumableOptions) {
  const { stores, links, admission, requireLink, maxFileSize } = options
  const { resumable } = stores.data
  const writers = createWriters()
  const digestings = createDigestings(options.imageReader, options.inlineLimit)
  const complete = createCompletion({ ...options, digestings })
  const writing: Writing = { ...options, digestings, complete }
  const { find, openLinkOf, remember } = createUploadLinks(resumable, requireLink)

  /** Becomes the writer of an upload. @throws {UploadNotFound | UploadBusy | Busy} */
  async function take(request: ResumableRequest, id: string) {
    const writer = newId()
    const row = await resumable.take(id, writer)
    if (row === 'completing') throw request.method === 'tus' ? new errors.UploadBusy() : new errors.Busy()
    if (row?.linkId !== request.linkId) throw new errors.UploadNotFound()
    return { row, key: { id, writer }, exclusive: row.writer === null }
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
        const row = await insert(options, request, link, {
          ...upload,
          ...sender,
          length: length ?? undefined,
        })
        announce(stateOf(row))
        const held = { row, key: { id: row.id, writer: row.writer! }, link, exclusive: true }
        return await writers.exclusively(row.id, (stopper) =>
          body
            ? appendTo(writing, held, body, stopper)
            : asWriter(writing, held, async () =>
                stateOf(row.length === 0 ? await completeOrReject(writing, held) : row),
              ),
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
          return await appendTo(writing, held, body, stopper)
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
    return asWriter(writing, held, async () => {
      const objects = storeOf(stores, held.row)
      if ((await objects.sizeOfUnfinished(unfinishedOf(objects, held.row))) < size && size !== length)
        throw new UploadLost('The store has fewer bytes than were acknowledged.')
      return stateOf(size === length && link ? await completeOrReject(writing, held) : held.row)
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
}

/** @throws {TooManyUploads | Busy} the unfinished uploads of the link are too many or too large */
async function insert(
  { stores, maxFileSize, bytesPerLink, resumeWithin }: ResumableOptions,
  request: ResumableRequest,
  link: LinkRow,
  upload: Omit<NewUpload, keyof Sender> & Sender,
) {
  const inserted = await stores.data.resumable.insert(
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
