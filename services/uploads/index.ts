import { finished, type Readable, type Writable } from 'node:stream'
import type { Processed, Rejected, RejectionReason, UploadAnswer } from '../../schemas/uploads.ts'
import { isRefusal, type LinkRow, type Received, type Recorded } from '../../stores/data/data-store.ts'
import type { Stores } from '../../stores/index.ts'
import { StoreFull } from '../../stores/objects/object-store.ts'
import type { ImageReader } from '../analysis/reader.ts'
import type { Cache } from '../cache.ts'
import * as errors from '../errors.ts'
import { type Problem, Rejection } from '../errors.ts'
import { newId } from '../ids.ts'
import { showMetadata } from '../images/show-metadata.ts'
import type { Links } from '../links/index.ts'
import type { Digests } from './digests.ts'
import { createHashing, type Hashing } from './hashing.ts'
import { createSniffer } from './sniffer.ts'

export type Uploads = ReturnType<typeof createUploads>

/** A part of an upload, or what is wrong with it. */
export type Part = FilePart | { name: string; fault: RejectionReason }

export interface FilePart {
  name: string
  file: PartFile
  digests: Digests
}

/** The bytes of a part. Where the request ends before the part does, it fails. */
export interface PartFile extends Readable {
  /** Known at the end: the part had more bytes than it may, and the rest was dropped. */
  truncated: boolean
}

/** What the uploads of this process have come to. */
export interface UploadCounts {
  received: number
  duplicates: number
  bytes: number
  rejected: Map<RejectionReason, number>
}

/** The way of an image into the service. */
export function createUploads({
  stores: { data, objects, queue },
  links,
  imageReader,
  knownHashes,
  inlineLimit,
  maxFileSize,
  maxFiles,
  accept,
  hideDuplicates = false,
}: {
  stores: Stores
  links: Links
  imageReader: ImageReader
  /** The ids of images by their region and hash. Only a hint: the image may have gone. */
  knownHashes: Cache<string>
  /** Bytes. */
  inlineLimit: number
  /** Bytes; for the answer to a file that has more. Whoever reads the parts keeps to it. */
  maxFileSize: number
  maxFiles: number
  /** The media types that are taken in; without it, all that are known. */
  accept: ReadonlySet<string> | undefined
  /**
   * Whether each part becomes an image of its own. Then nothing tells its sender whether the content was known: neither
   * the answer, nor the time it takes, nor what becomes of the image when another sender's is removed.
   */
  hideDuplicates?: boolean
}) {
  const limits = `Send ${maxFiles} files at most, each of ${maxFileSize} bytes at most.`
  const counts: UploadCounts = { received: 0, duplicates: 0, bytes: 0, rejected: new Map() }

  return {
    counts,

    /**
     * Takes in the parts of an upload, one after the other, and tells what became of each.
     *
     * @throws {LinkNotFound | LinkExpired | LinkRevoked | LinkUsedUp} before the first part is read
     * @throws {Problem} no part was taken in; its `rejected` tells why
     */
    async receive(linkId: string, parts: AsyncIterable<Part>): Promise<UploadAnswer> {
      const link = await links.open(linkId)
      const processed: Processed[] = []
      const rejected: Rejected[] = []
      for await (const part of parts) {
        const name = cleanName(part.name)
        try {
          if ('fault' in part) throw new Rejection(part.fault)
          processed.push({ name, ...(await receivePart(link, name, part)) })
        } catch (error) {
          const { reason } = asRejection(error)
          counts.rejected.set(reason, (counts.rejected.get(reason) ?? 0) + 1)
          rejected.push({ name, reason })
        }
      }
      if (processed.length === 0) throw problemOf(rejected, limits)
      return { processed, rejected }
    },
  }

  /**
   * Takes in one part. Its object is durable before its row exists, and its row exists before this resolves. A part
   * that is rejected or known leaves no object; one that fails in between leaves at most an object without a row, for
   * the sweep.
   */
  async function receivePart(link: LinkRow, name: string, { file, digests }: FilePart) {
    const id = newId()
    const startedAt = new Date()
    const sniffer = createSniffer(inlineLimit, imageReader)
    const hashing = createHashing(new Set(['sha256', ...digests.keys()]), sniffer.take)
    passOn(file, hashing.stream)
    const store = objects.at({ region: link.region, tier: 'hot' })
    const staged = await store.stage(id, hashing.stream)

    let undecided = true
    const commit = () => {
      undecided = false
      return staged.commit()
    }
    // Where that fails the sweep does it: what became of the part is known all the same.
    const discard = () => {
      undecided = false
      return staged.discard().catch(() => {})
    }
    try {
      if (file.truncated) throw new Rejection('too_large')
      if (hashing.size === 0) throw new Rejection('empty')
      const received = { link, startedAt, name, hash: verifiedHash(hashing, digests), size: hashing.size }

      // What is known needs no object. With the hint, one query tells before anything is flushed or sent to a bucket.
      if (!hideDuplicates && knownHashes.get(knownKey(received))) {
        const recorded = await data.uploads.recordKnown(received)
        if (recorded) {
          await discard()
          return finish(received, recorded)
        }
      }
      const image = { id, ...(await sniffer.end(staged.content)), shared: !hideDuplicates }
      const { status, metadata } = image
      // Only the header tells for sure what format it is; where it was not reached, a worker decides.
      const isSure = status === 'ready' || metadata.width !== undefined
      if (isSure && accept?.has(metadata.mediaType) === false) throw new Rejection('not_accepted')
      await commit()
      const recorded = await data.uploads.record(received, image)
      // Where that fails the object has no row, and is the sweep's; the upload is recorded all the same.
      if (isRefusal(recorded) || recorded.duplicate) await store.delete(id).catch(() => {})
      else queue.announce(id)
      return finish(received, recorded)
    } catch (error) {
      // After the commit it is not known whether the row exists: then the object stays, and the sweep decides.
      if (undecided) await discard()
      throw error
    }
  }

  function finish(received: Received, recorded: Recorded) {
    if (isRefusal(recorded)) throw new Rejection(recorded)
    const { hash, size } = received
    knownHashes.set(knownKey(received), recorded.id)
    counts.received++
    counts.bytes += size
    if (recorded.duplicate) counts.duplicates++
    const { id, duplicate, status, metadata } = recorded
    return { id, hash, size, duplicate, status, metadata: showMetadata(metadata) }
  }
}

const knownKey = ({ link, hash }: Received) => link.region + hash

/**
 * Like `pipe`, but where one end fails the other does not hang: what `to` no longer takes is read and dropped, so that
 * the next part can come.
 */
function passOn(file: PartFile, to: Writable) {
  finished(file, (cause) => {
    if (cause) to.destroy(new Rejection('incomplete', { cause }))
  })
  to.once('close', () => file.resume())
  file.pipe(to)
}

/** The SHA-256 in hex. @throws {Rejection} a digest that the sender gave is another */
function verifiedHash(hashing: Hashing, expected: Digests) {
  const sha256 = hashing.digest('sha256')
  for (const [algorithm, digest] of expected) {
    const actual = algorithm === 'sha256' ? sha256 : hashing.digest(algorithm)
    if (!actual.equals(digest)) throw new Rejection('digest_mismatch')
  }
  return sha256.toString('hex')
}

const NAME_LENGTH = 255

/**
 * A name that can be kept and shown: of `NAME_LENGTH` characters at most, none of them a control character (a NUL is no
 * text for PostgreSQL) or one that turns the direction of the text (UAX #9), by which exe.gnp could pass for a png. The
 * invisible joiners of emoji and of some scripts stay.
 */
const cleanName = (name: string) =>
  [
    ...name
      .normalize('NFC')
      .replace(/[\p{Cc}\p{Bidi_Control}]/gu, '')
      .trim(),
  ]
    .slice(0, NAME_LENGTH)
    .join('')
    .toWellFormed()

function asRejection(error: unknown): Rejection {
  if (error instanceof Rejection) return error
  if (error instanceof StoreFull) return new Rejection('insufficient_storage', { cause: error })
  throw error
}

const problems: Record<RejectionReason, new (options: { rejected: Rejected[]; detail?: string }) => Problem> =
  {
    not_an_image: errors.NoImage,
    not_accepted: errors.NotAccepted,
    empty: errors.NoImage,
    too_large: errors.TooLarge,
    too_many_files: errors.TooLarge,
    digest_mismatch: errors.DigestMismatch,
    malformed: errors.MalformedMultipart,
    unsupported_encoding: errors.UnsupportedTransferEncoding,
    incomplete: errors.MalformedMultipart,
    insufficient_storage: errors.InsufficientStorage,
    link_used_up: errors.LinkUsedUp,
    link_expired: errors.LinkExpired,
    link_revoked: errors.LinkRevoked,
  }

/** The answer where no part was taken in: that of the one reason, or that there was no image among them. */
function problemOf(rejected: Rejected[], limits: string) {
  const kinds = new Set(rejected.map(({ reason }) => problems[reason]))
  const [only = errors.NoImage] = kinds
  const Kind = kinds.size === 1 ? only : errors.NoImage
  return new Kind(Kind === errors.TooLarge ? { rejected, detail: limits } : { rejected })
}
