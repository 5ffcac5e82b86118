import { finished, type Writable } from 'node:stream'
import type { Processed } from '../../schemas/uploads.ts'
import type { LinkRow } from '../../stores/data/interfaces/links.ts'
import {
  isRefusal,
  type Received,
  type Recorded,
  type RecordedUpload,
  type UploadStore,
} from '../../stores/data/interfaces/uploads.ts'
import type { Stores } from '../../stores/index.ts'
import type { ObjectStore, StagedObject } from '../../stores/objects/object-store.ts'
import { currentTrace, measure } from '../../stores/telemetry.ts'
import type { ImageReader } from '../analysis/reader.ts'
import type { Cache } from '../cache.ts'
import { Rejection } from '../errors.ts'
import { newId } from '../ids.ts'
import { showMetadata } from '../images/show-metadata.ts'
import { requireSize, requireType, type Sender } from '../links/rules.ts'
import type { Staging } from './admission.ts'
import type { UploadCounts } from './counts.ts'
import type { Digests } from './digests.ts'
import { createHashing, type Hashing } from './hashing.ts'
import type { FilePart, PartFile } from './part.ts'
import { createSniffer, type Sniffer } from './sniffer.ts'
import type { UploadMethod } from './upload-request.ts'

export interface PartOptions {
  stores: Stores
  imageReader: ImageReader
  /** The ids of images by region and hash. It is only a hint: the image may have been removed. */
  knownHashes: Cache<string>
  /** Bytes. Larger files are not read fully before the response. */
  inlineLimit: number
  /** The accepted media types. Undefined: all supported ones. */
  accept: ReadonlySet<string> | undefined
  /**
   * Whether each part becomes a separate image. Then nothing shows the sender that the content was known: not the
   * response, not its duration, and not the removal of another sender's image.
   */
  hideDuplicates: boolean
  counts: UploadCounts
}

/** Where a part comes from. */
export interface PartSource extends Sender {
  link: LinkRow
  name: string
  method: UploadMethod
  /** When its first byte arrived. */
  startedAt: Date
}

/** A part that was received completely, and is not recorded yet. */
export interface StagedPart {
  /** The key of the object, and the id of the image if it is a new one. */
  id: string
  method: UploadMethod
  received: Received
  sniffer: Sniffer
  store: ObjectStore
  staged: StagedObject
}

/** Records a file of which all bytes have arrived. */
export type Recorder = Pick<UploadStore, 'record' | 'recordKnown'>

/**
 * Creates the function that receives one part of a request: it stages the part, and then settles it.
 *
 * @throws {Rejection | StoreFull} by the function
 */
export function createPartReceiver(options: PartOptions) {
  const settle = createSettle(options)
  return async (part: FilePart, source: PartSource, staging: Staging): Promise<Processed> => {
    try {
      const staged = await stagePart(part, source, staging, options)
      return await discardOnError(staged, () => settle(staged))
    } finally {
      staging.release()
    }
  }
}

/**
 * Creates the function in which all upload methods end. It decides whether a staged part is accepted, and records it.
 *
 * An object is durable before its row exists, and the row exists before the function resolves. A known part leaves no
 * object. The caller discards a part that is rejected. A failure in between leaves at most an object without a row, which
 * the sweep deletes.
 *
 * @throws {Rejection | StoreFull} by the function
 */
export function createSettle(options: PartOptions) {
  return async (part: StagedPart, recorder: Recorder = options.stores.data.uploads): Promise<Processed> => {
    requireSize(part.received.link, part.received.size)
    const recorded =
      (await recordKnown(part, recorder, options)) ?? (await recordNew(part, recorder, options))
    const processed = finish(part, recorded, options)
    if (processed.duplicate && processed.status === 'corrupt') await analyseAgain(processed.id, options)
    return processed
  }
}

/** A newer decoder may support an image that an older one could not decode. The upload is recorded in any case. */
async function analyseAgain(imageId: string, { stores: { data, queue } }: PartOptions) {
  const queued = await data.imageLeases
    .requeue({ ids: [imageId], status: 'corrupt', limit: 1 })
    .catch(() => [])
  for (const id of queued) queue.announce(id)
}

/** The entry of an accepted part in the response. */
export function toProcessed({ name, hash, size }: Received, recorded: RecordedUpload): Processed {
  const { id, duplicate, status, metadata } = recorded
  return { name, id, hash, size, duplicate, status, metadata: showMetadata(metadata) }
}

/** Stages the bytes while they are hashed and sniffed. @throws {Rejection | StoreFull} */
async function stagePart(
  { file, digests }: FilePart,
  { link, name, method, startedAt, sender, message }: PartSource,
  staging: Staging,
  { stores: { objects }, imageReader, inlineLimit }: PartOptions,
): Promise<StagedPart> {
  const id = newId()
  const sniffer = createSniffer(inlineLimit, imageReader.of(link.id))
  const hashing = createHashing(new Set(['sha256', ...digests.keys()]), (chunk) => {
    staging.add(chunk.length)
    return sniffer.take(chunk)
  })
  passOn(file, hashing.stream)
  const store = objects.at({ region: link.region, tier: 'hot' })
  const staged = settleOnce(
    await measure({ kind: 'upload', name: 'receive' }, () => store.stage(id, hashing.stream)),
  )
  return discardOnError({ staged }, async () => {
    if (file.truncated) throw new Rejection('too_large')
    if (hashing.size === 0) throw new Rejection('empty')
    const hash = verifiedHash(hashing, digests)
    const received = { link, name, startedAt, hash, size: hashing.size, sender, message }
    return { id, method, received, sniffer, store, staged }
  })
}

/**
 * Records an upload of a known image, without an object of its own. One query decides, before anything is flushed or
 * sent to a bucket. Undefined if the content is not known.
 */
async function recordKnown(
  { received, staged }: StagedPart,
  recorder: Recorder,
  { knownHashes, hideDuplicates }: PartOptions,
) {
  // A link that accepts some formats only has to read the format first.
  if (hideDuplicates || received.link.accept || !knownHashes.get(knownKey(received))) return undefined
  const recorded = await measure({ kind: 'upload', name: 'database' }, () => recorder.recordKnown(received))
  // If this fails, the sweep deletes the object. The upload is recorded.
  if (recorded) await staged.discard().catch(() => {})
  return recorded
}

/** Commits the object, and records an upload of a new image, or of an equal one that was recorded in the meantime. */
async function recordNew(
  { id, received, sniffer, store, staged }: StagedPart,
  recorder: Recorder,
  { stores: { queue }, accept, hideDuplicates }: PartOptions,
) {
  const image = { id, ...(await sniffer.end(staged.content)), shared: !hideDuplicates, trace: currentTrace() }
  const { status, metadata } = image
  // Only the header shows the format with certainty. If the front does not contain it, a worker decides.
  const isCertain = status === 'ready' || metadata.width !== undefined
  if (isCertain && accept?.has(metadata.mediaType) === false) throw new Rejection('not_accepted')
  requireType(received.link, metadata.mediaType)
  await measure({ kind: 'upload', name: 'store' }, () => staged.commit())
  const recorded = await measure({ kind: 'upload', name: 'database' }, () => recorder.record(received, image))
  if (!isRefusal(recorded) && !recorded.duplicate) queue.announce(id)
  // If this fails, the object has no row, and the sweep deletes it. The upload is recorded.
  else await store.delete(id).catch(() => {})
  return recorded
}

function finish(
  { received, method }: StagedPart,
  recorded: Recorded,
  { knownHashes, counts }: PartOptions,
): Processed {
  if (isRefusal(recorded)) throw new Rejection(recorded)
  const { size } = received
  knownHashes.set(knownKey(received), recorded.id)
  const count = counts[method]
  count.received++
  count.bytes += size
  if (recorded.duplicate) count.duplicates++
  return toProcessed(received, recorded)
}

// Images that are served by other rules are other images.
const knownKey = ({ link, hash }: Received) =>
  `${link.region}${link.private ? '!' : ''}${link.stripMetadata ? '-' : ''}${hash}`

/** Runs `work`, and discards the staged object if it fails. */
async function discardOnError<T>({ staged }: { staged: StagedObject }, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    await staged.discard().catch(() => {})
    throw error
  }
}

/**
 * A staged object that can be discarded at any time. After the commit that does nothing: a failure later leaves open
 * whether the row exists, so the object stays and the sweep decides.
 */
function settleOnce(staged: StagedObject): StagedObject {
  let isSettled = false
  return {
    ...(staged.content && { content: staged.content }),
    commit() {
      isSettled = true
      return staged.commit()
    },
    async discard() {
      if (isSettled) return
      isSettled = true
      await staged.discard()
    },
  }
}

/**
 * Like `pipe`, but a failure of one end ends the other. If `to` fails, the rest of the part is read and dropped, so that
 * the next part can follow.
 */
function passOn(file: PartFile, to: Writable) {
  finished(file, (cause) => {
    if (cause) to.destroy(new Rejection('incomplete', { cause }))
  })
  to.once('close', () => file.resume())
  file.pipe(to)
}

/** The SHA-256 in hex. @throws {Rejection} a digest of the sender is different */
export function verifiedHash(hashing: Hashing, expected: Digests) {
  const sha256 = hashing.digest('sha256')
  for (const [algorithm, digest] of expected) {
    const actual = algorithm === 'sha256' ? sha256 : hashing.digest(algorithm)
    if (!actual.equals(digest)) throw new Rejection('digest_mismatch')
  }
  return sha256.toString('hex')
}
