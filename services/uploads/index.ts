import type { Processed, Rejected, UploadAnswer } from '../../schemas/uploads.ts'
import type { LinkRow } from '../../stores/data/data-store.ts'
import { Rejection } from '../errors.ts'
import type { Links } from '../links/index.ts'
import { type AdmissionLimits, type AdmittedUpload, createAdmission } from './admission.ts'
import { cleanName } from './names.ts'
import type { Part } from './part.ts'
import { createPartReceiver, type PartOptions, type UploadCounts } from './receive-part.ts'
import { problemOf, reasonOf } from './rejections.ts'

export type Uploads = ReturnType<typeof createUploads>

export interface UploadOptions extends Omit<PartOptions, 'counts'> {
  links: Links
  limits: AdmissionLimits
  /** Bytes. Only for the detail of an error, like `maxFiles`: the reader of the multipart body enforces both. */
  maxFileSize: number
  maxFiles: number
}

/** One request with images. */
export interface UploadRequest {
  linkId: string
  /** The client's address, or the network by which it is counted. */
  network: string
  parts: AsyncIterable<Part>
}

/** Receives images by links. */
export function createUploads({ links, limits, maxFileSize, maxFiles, ...options }: UploadOptions) {
  const counts: UploadCounts = { received: 0, duplicates: 0, bytes: 0, rejected: new Map() }
  const admission = createAdmission(limits)
  const receivePart = createPartReceiver({ ...options, counts })
  const sizes = `Send at most ${maxFiles} files of at most ${maxFileSize} bytes each.`

  /** Receives one part, if the link is open when it begins. @throws {Rejection | Problem} */
  async function receiveOne(part: Part, name: string, link: LinkRow, upload: AdmittedUpload) {
    if ('fault' in part) throw new Rejection(part.fault)
    return receivePart(link, { ...part, name, startedAt: new Date() }, upload.stage(link))
  }

  return {
    counts,

    /**
     * Receives the parts of a request, one after the other, and reports the result of each.
     *
     * @throws {LinkNotFound | LinkExpired | LinkRevoked | LinkUsedUp} before the first part is read
     * @throws {TooManyUploads} too many requests by this link or from this network
     * @throws {Problem} no part was accepted; its `rejected` has the reasons
     */
    async receive({ linkId, network, parts }: UploadRequest): Promise<UploadAnswer> {
      let link = await links.requireOpen(linkId)
      const upload = admission.enter(link, network)
      const processed: Processed[] = []
      const rejected: Rejected[] = []
      try {
        for await (const part of parts) {
          const name = cleanName(part.name)
          try {
            // The link may have been closed since the previous part.
            if (processed.length + rejected.length > 0) link = await links.requireOpen(linkId)
            processed.push(await receiveOne(part, name, link, upload))
          } catch (error) {
            if ('file' in part) part.file.resume()
            const reason = reasonOf(error)
            counts.rejected.set(reason, (counts.rejected.get(reason) ?? 0) + 1)
            rejected.push({ name, reason })
          }
        }
      } finally {
        upload.leave()
      }
      if (processed.length === 0) throw problemOf(rejected, sizes)
      return { processed, rejected }
    },
  }
}
