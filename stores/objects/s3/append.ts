import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { type AppendOptions, RESUMABLE, type UnfinishedObject, UploadLost } from '../object-store.ts'
import type { Bucket } from './bucket.ts'
import { toStoreFull } from './faults.ts'
import { sizeOfUpload } from './listing.ts'
import { PART_BYTES } from './memory.ts'
import { abortMultipart, isNoSuchUpload } from './multipart.ts'
import { inParts, PARTS_AT_ONCE, type Part } from './parts.ts'
import { put, remove, sizeOf, target } from './staging.ts'

/**
 * The bytes of an unfinished object are the parts of a multipart upload, all of `PART_BYTES`, and a tail: S3 accepts no
 * smaller part except the last one, so the rest is an object of its own until more bytes arrive. A part and a tail are
 * never changed: a part that a replaced writer sends again has another ETag, and S3 refuses to complete the upload with
 * it, unless its bytes are equal.
 */
interface Details {
  uploadId?: string
  parts: SentPart[]
  tail?: { name: string; bytes: number }
}

interface SentPart {
  etag: string
  checksum?: string
}

const detailsOf = ({ details }: UnfinishedObject) => details as Details

const stateOf = (key: string, details: Details): UnfinishedObject => ({
  key,
  size: details.parts.length * PART_BYTES + (details.tail?.bytes ?? 0),
  details,
})

export const begin = (key: string) => stateOf(key, { parts: [] })

export async function append(
  bucket: Bucket,
  upload: UnfinishedObject,
  source: Readable,
  { checkpoint }: AppendOptions,
): Promise<UnfinishedObject> {
  source.on('error', () => {})
  const { parts: before, tail } = detailsOf(upload)
  const memory = bucket.memory.open()
  const stop = new AbortController()
  const parts = inParts(Readable.from(tailThen(bucket, tail, source), { objectMode: false }), memory)
  /** The parts without a gap, and those after a gap by their index. */
  const complete = [...before]
  const ahead = new Map<number, SentPart>()
  let uploadId = detailsOf(upload).uploadId
  let saved = upload
  let saving = Promise.resolve()
  let last: Buffer = Buffer.alloc(0)

  /** Saves the parts that have arrived without a gap. Calls wait for each other. */
  const save = (newTail?: Details['tail'], isLast = false) => {
    const work = async () => {
      stop.signal.throwIfAborted()
      for (let part = ahead.get(complete.length); part; part = ahead.get(complete.length)) {
        ahead.delete(complete.length)
        complete.push(part)
      }
      const state = stateOf(upload.key, {
        ...(uploadId && { uploadId }),
        parts: [...complete],
        ...(newTail && { tail: newTail }),
      })
      if (state.size <= saved.size) return
      if (await checkpoint(state, isLast)) saved = state
    }
    saving = saving.then(work)
    return saving
  }

  async function sender() {
    const next = async (spent?: Buffer) => (await parts.next(spent)).value
    for (let part = await next(); part; part = await next(part.bytes)) {
      if (part.last && part.bytes.length < PART_BYTES) {
        last = part.bytes
        return
      }
      const index = before.length + part.number - 1
      uploadId ??= await create()
      const sent = await sendPart(bucket, upload.key, uploadId, { ...part, number: index + 1 }, stop.signal)
      ahead.set(index, sent)
      await save()
    }
  }
  let creating: Promise<string> | undefined
  const create = () => {
    creating ??= createUpload(bucket, upload.key)
    return creating
  }

  const senders = Array.from({ length: PARTS_AT_ONCE }, sender)
  try {
    await Promise.all(senders)
    await saving
    // Without new bytes, the tail is the one that the bucket has already.
    if (complete.length * PART_BYTES + last.length > upload.size && last.length > 0) {
      const name = `${RESUMABLE}${upload.key}-${randomUUID()}`
      await put(bucket, name, last)
      await save({ name, bytes: last.length }, true)
      if (detailsOf(saved).tail?.name !== name) await remove(bucket, name)
    }
    // If this fails, the sweep does it.
    if (tail && detailsOf(saved).tail?.name !== tail.name) await remove(bucket, tail.name).catch(() => {})
    memory.releaseParts()
    return saved
  } catch (error) {
    stop.abort()
    source.destroy()
    await Promise.allSettled(senders)
    if (uploadId && !detailsOf(saved).uploadId) await abortUnused(bucket, upload.key, uploadId)
    throw isGone(error)
      ? new UploadLost('The multipart upload does not exist any more.', { cause: error })
      : toStoreFull(error)
  } finally {
    parts.return().catch(() => {})
    memory.close()
  }
}

/** Aborts a multipart upload without a saved part. If this fails, the sweep does it. */
const abortUnused = (bucket: Bucket, key: string, UploadId: string) =>
  abortMultipart(
    bucket.client,
    { ...target(bucket, key), UploadId },
    AbortSignal.timeout(bucket.timeouts.idle),
  ).catch(() => {})

async function* tailThen(bucket: Bucket, tail: Details['tail'], source: Readable): AsyncGenerator<Buffer> {
  if (tail) yield* readTail(bucket, tail)
  for await (const chunk of source) yield chunk
}

/** @throws {UploadLost} at the end, if it does not have all bytes */
async function* readTail(
  bucket: Bucket,
  { name, bytes }: NonNullable<Details['tail']>,
): AsyncGenerator<Buffer> {
  let size = 0
  try {
    const { Body } = await bucket.client.send(new GetObjectCommand(target(bucket, name)))
    for await (const chunk of Body as Readable) {
      size += chunk.length
      yield chunk
    }
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  if (size !== bytes) throw new UploadLost('The tail of the upload is missing.')
}

const isMissing = (error: unknown) =>
  error instanceof S3ServiceException && ['NoSuchKey', 'NotFound'].includes(error.name)

async function createUpload(bucket: Bucket, key: string) {
  const { UploadId } = await bucket.client.send(
    new CreateMultipartUploadCommand({
      ...target(bucket, key),
      StorageClass: bucket.storageClass,
      ChecksumAlgorithm: bucket.checksum,
    }),
  )
  return UploadId!
}

async function sendPart(
  bucket: Bucket,
  key: string,
  UploadId: string,
  { number: PartNumber, bytes: Body }: Pick<Part, 'number' | 'bytes'>,
  abortSignal?: AbortSignal,
): Promise<SentPart> {
  const { ETag, ChecksumCRC32 } = await bucket.client.send(
    new UploadPartCommand({
      ...target(bucket, key),
      UploadId,
      PartNumber,
      Body,
      ChecksumAlgorithm: bucket.checksum,
    }),
    abortSignal && { abortSignal },
  )
  return { etag: ETag!, ...(ChecksumCRC32 && { checksum: ChecksumCRC32 }) }
}

const undefinedIfGone = (error: unknown) => {
  if (isGone(error)) return undefined
  throw error
}

export async function sizeOfUnfinished(bucket: Bucket, upload: UnfinishedObject) {
  const { uploadId, parts, tail } = detailsOf(upload)
  const { Bucket: _, ...key } = target(bucket, upload.key)
  const sent = uploadId
    ? ((await sizeOfUpload(bucket, { ...key, UploadId: uploadId }).catch(undefinedIfGone)) ?? 0)
    : 0
  if (sent < parts.length * PART_BYTES) return sent
  const bytes = tail
    ? await sizeOf(bucket, tail.name).catch((error) => {
        if (isMissing(error)) return 0
        throw error
      })
    : 0
  return parts.length * PART_BYTES + bytes
}

export async function finish(bucket: Bucket, upload: UnfinishedObject) {
  const { uploadId, parts, tail } = detailsOf(upload)
  try {
    const rest = tail && (await buffer(readTail(bucket, tail)))
    if (!uploadId) await put(bucket, upload.key, rest ?? Buffer.alloc(0))
    else {
      await complete(bucket, upload.key, uploadId, parts, rest)
      // Some servers complete an upload that was aborted.
      if ((await sizeOf(bucket, upload.key)) !== upload.size)
        throw new UploadLost('The object does not have all bytes.')
    }
  } catch (error) {
    const isLost = error instanceof UploadLost || isGone(error) || isInvalidPart(error)
    // An earlier attempt may have ended after this step.
    const isThere = isLost && (await sizeOf(bucket, upload.key).catch(() => -1)) === upload.size
    if (isLost && !isThere) throw new UploadLost('Parts of the upload are missing.', { cause: error })
    if (!isLost) throw toStoreFull(error)
  }
  // If this fails, the sweep does it.
  if (tail) await remove(bucket, tail.name).catch(() => {})
}

async function complete(
  bucket: Bucket,
  key: string,
  UploadId: string,
  parts: SentPart[],
  rest: Buffer | undefined,
) {
  const all = rest
    ? [...parts, await sendPart(bucket, key, UploadId, { number: parts.length + 1, bytes: rest })]
    : parts
  await bucket.client.send(
    new CompleteMultipartUploadCommand({
      ...target(bucket, key),
      UploadId,
      MultipartUpload: {
        Parts: all.map(({ etag, checksum }, index) => ({
          PartNumber: index + 1,
          ETag: etag,
          ...(checksum && { ChecksumCRC32: checksum }),
        })),
      },
    }),
  )
}

/** The multipart upload does not exist. Some servers respond to that with 404 and another code. */
const isGone = (error: unknown) =>
  isNoSuchUpload(error) || (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404)

const isInvalidPart = (error: unknown) => error instanceof S3ServiceException && error.name === 'InvalidPart'

export async function abandon(bucket: Bucket, upload: UnfinishedObject) {
  const { uploadId, tail } = detailsOf(upload)
  if (uploadId) await abortMultipart(bucket.client, { ...target(bucket, upload.key), UploadId: uploadId })
  if (tail) await remove(bucket, tail.name)
}
