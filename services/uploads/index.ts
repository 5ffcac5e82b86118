import type { Processed, Rejected, UploadAnswer } from '../../schemas/uploads.ts'
import type { LinkRow } from '../../stores/data/interfaces/links.ts'
import { Rejection } from '../errors.ts'
import type { Links } from '../links/index.ts'
import type { Passwords } from '../links/passwords.ts'
import { readSender, requireSender, type Sender } from '../links/rules.ts'
import { type AdmissionLimits, type AdmittedUpload, createAdmission } from './admission.ts'
import { countRejection, createUploadCounts } from './counts.ts'
import { cleanName } from './names.ts'
import type { Part, TextPart } from './part.ts'
import { createPartReceiver, type PartOptions, type PartSource } from './receive-part.ts'
import { problemOf, reasonOf } from './rejections.ts'
import { createResumable } from './resumable/index.ts'
import type { UploadRequest } from './upload-request.ts'

export type Uploads = ReturnType<typeof createUploads>

export interface UploadOptions extends Omit<PartOptions, 'counts'> {
  links: Links
  passwords: Passwords
  limits: AdmissionLimits
  /** Bytes. Only for the detail of an error, like `maxFiles`: the reader of the multipart body enforces both. */
  maxFileSize: number
  maxFiles: number
  /** Milliseconds. An unfinished resumable upload is deleted afterwards. */
  resumeWithin: number
  /** Bytes of all unfinished resumable uploads of a link. */
  resumableBytesPerLink: number
}

/** A request with images. */
export interface ImagesRequest extends UploadRequest {
  parts: AsyncIterable<Part> | Iterable<Part>
}

/** Receives images by links. */
export function createUploads({
  links,
  passwords,
  limits,
  maxFileSize,
  maxFiles,
  resumeWithin,
  resumableBytesPerLink: bytesPerLink,
  ...options
}: UploadOptions) {
  const counts = createUploadCounts()
  const admission = createAdmission(limits)
  const receivePart = createPartReceiver({ ...options, counts })
  const sizesOf = (link: LinkRow) =>
    `Send at most ${maxFiles} files of at most ${Math.min(link.maxFileSize ?? maxFileSize, maxFileSize)} bytes each.`

  /** Receives one part, if the link is open when it begins. @throws {Rejection | Problem} */
  async function receiveOne(part: Exclude<Part, TextPart>, source: PartSource, upload: AdmittedUpload) {
    if ('fault' in part) throw new Rejection(part.fault)
    return receivePart(part, source, upload.stage(source.link))
  }

  /**
   * Decides whether a request may upload, before a byte of its images is read. All upload methods call it.
   *
   * @throws {LinkNotFound | LinkNotOpen | LinkExpired | LinkRevoked | LinkUsedUp}
   * @throws {PasswordRequired | WrongPassword | TooManyFailedLookups}
   */
  async function requireLink(
    { linkId, credentials, network }: UploadRequest,
    startedAt?: Date,
  ): Promise<LinkRow> {
    const link = await links.requireOpen(linkId, startedAt)
    if (link.passwordHash !== null) await passwords.require(link, credentials, network)
    return link
  }

  return {
    counts,
    load: admission.load,
    refusalOf: admission.refusalOf,

    /** Uploads in several requests. */
    resumable: createResumable({
      ...options,
      counts,
      links,
      admission,
      requireLink,
      maxFileSize,
      bytesPerLink,
      resumeWithin,
    }),

    /** The error of an upload of which nothing was accepted; undefined if something was. */
    problemOf: ({ processed, rejected }: UploadAnswer) =>
      processed.length === 0
        ? problemOf(
            rejected as Rejected[],
            `Send a file of at most ${maxFileSize} bytes, or the limit of the link.`,
          )
        : undefined,

    /**
     * Receives the parts of a request, one after the other, and reports the result of each.
     *
     * @throws {LinkNotFound | LinkExpired | LinkRevoked | LinkUsedUp} before the first part is read, like the other
     *   problems of `requireLink`
     * @throws {InvalidSender | SenderRequired} before the first file is read
     * @throws {TooManyUploads} too many requests by this link or from this network
     * @throws {Problem} no part was accepted; its `rejected` has the reasons
     */
    async receive({ parts, ...request }: ImagesRequest): Promise<UploadAnswer> {
      let link = await requireLink(request)
      const upload = admission.enter(link, request.network)
      const processed: Processed[] = []
      const rejected: Rejected[] = []
      let given = request.given
      let sender: Sender | undefined
      try {
        for await (const part of parts) {
          if ('text' in part) {
            // It applies to the files after it.
            given = { ...given, [part.name]: await part.text }
            sender = undefined
            continue
          }
          sender ??= readSender(given)
          requireSender(link, sender)
          const name = cleanName(part.name)
          try {
            // The link may have been closed since the previous part.
            if (processed.length + rejected.length > 0) link = await requireLink(request)
            const source = { link, name, method: request.method, startedAt: new Date(), ...sender }
            processed.push(await receiveOne(part, source, upload))
          } catch (error) {
            if ('file' in part) part.file.resume()
            const reason = reasonOf(error)
            countRejection(counts[request.method], reason)
            rejected.push({ name, reason })
          }
        }
      } finally {
        upload.leave()
      }
      if (processed.length === 0) throw problemOf(rejected, sizesOf(link))
      return { processed, rejected }
    },
  }
}
