import type { Readable } from 'node:stream'
import { DeleteObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import type { StagedObject } from '../object-store.ts'
import type { Bucket } from './bucket.ts'
import { toStoreFull } from './faults.ts'
import type { UploadMemory } from './memory.ts'
import { isNoSuchUpload, type MultipartUpload, sendMultipart } from './multipart.ts'
import { inParts } from './parts.ts'

/** Stages `source`: in memory if it fits into one part, else as a multipart upload. */
export async function stage(bucket: Bucket, key: string, source: Readable): Promise<StagedObject> {
  // When all bytes were read there is no other listener, and the source may still fail.
  source.on('error', () => {})
  const memory = bucket.memory.open()
  const parts = inParts(source, memory)
  try {
    const first = (await parts.next(undefined)).value!
    if (first.last) {
      await parts.return()
      return stagedInMemory(bucket, key, first.bytes, memory)
    }
    const upload = await sendMultipart(bucket, bucket.prefix + key, { source, first, parts })
    memory.releaseParts()
    memory.close()
    return stagedOnServer(bucket, key, upload)
  } catch (error) {
    source.destroy()
    parts.return().catch(() => {})
    memory.close()
    throw toStoreFull(error)
  }
}

/**
 * An object that fits into one part: to commit it is one PUT, to discard it is no request.
 *
 * The PUT has no `If-None-Match`: the key is new, and if the response to a first attempt was lost, the condition would
 * refuse the second.
 */
function stagedInMemory(bucket: Bucket, key: string, Body: Buffer, memory: UploadMemory): StagedObject {
  return {
    content: Body,
    async commit() {
      try {
        await put(bucket, key, Body)
      } catch (error) {
        await cleanUp(bucket, (signal) => remove(bucket, key, signal))
        throw toStoreFull(error)
      } finally {
        memory.close()
      }
    },
    async discard() {
      memory.close()
    },
  }
}

/** An object whose parts the server has: to commit it completes the upload, to discard it aborts the upload. */
function stagedOnServer(bucket: Bucket, key: string, upload: MultipartUpload): StagedObject {
  return {
    async commit() {
      try {
        await upload.complete()
      } catch (error) {
        // If the response to a first attempt was lost, the upload is gone and the object exists.
        if (isNoSuchUpload(error) && (await sizeOf(bucket, key).catch(() => -1)) === upload.size) return
        await cleanUp(bucket, upload.abort, (signal) => remove(bucket, key, signal))
        throw toStoreFull(error)
      }
    },
    discard: () => upload.abort(),
  }
}

export const target = ({ name: Bucket, prefix }: Bucket, key: string) => ({ Bucket, Key: prefix + key })

export const put = (bucket: Bucket, key: string, Body: Buffer | string) =>
  bucket.client.send(
    new PutObjectCommand({
      ...target(bucket, key),
      Body,
      StorageClass: bucket.storageClass,
      ChecksumAlgorithm: bucket.checksum,
    }),
  )

export async function sizeOf(bucket: Bucket, key: string) {
  const { ContentLength } = await bucket.client.send(new HeadObjectCommand(target(bucket, key)))
  return ContentLength ?? 0
}

export const remove = (bucket: Bucket, key: string, abortSignal?: AbortSignal) =>
  bucket.client.send(new DeleteObjectCommand(target(bucket, key)), { ...(abortSignal && { abortSignal }) })

/** Cleans up after an error of an unknown effect. If a step takes too long, the sweep does it later. */
const cleanUp = ({ timeouts }: Bucket, ...steps: ((signal: AbortSignal) => Promise<unknown>)[]) =>
  Promise.allSettled(steps.map((step) => step(AbortSignal.timeout(timeouts.idle))))
