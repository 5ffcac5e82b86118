import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import {
  AbortMultipartUploadCommand,
  type AbortMultipartUploadCommandInput,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import type { Bucket } from './bucket.ts'
import { PARTS_AT_ONCE, type Part, type Parts } from './parts.ts'

/** A multipart upload whose parts are all on the server. The object does not exist before `complete`. */
export interface MultipartUpload {
  /** Bytes. */
  size: number
  complete(): Promise<void>
  /** See `abortMultipart`. */
  abort(signal?: AbortSignal): Promise<void>
}

/**
 * Sends the bytes of `source` as a multipart upload. Resolves when the server has all of them. If the source or the server
 * fails, it rejects with that error at once, destroys the source and aborts the upload on the server.
 *
 * It uses the plain calls. lib-storage's `Upload` completes the object itself, before the caller has decided whether it is
 * wanted; if one part fails, it does not stop the others; and it does not wait for its abort.
 *
 * @param parts the parts of `source` after `first`
 */
export async function sendMultipart(
  { client, name: Bucket, storageClass: StorageClass, checksum: ChecksumAlgorithm, timeouts }: Bucket,
  Key: string,
  { source, first, parts }: { source: Readable; first: Part; parts: Parts },
): Promise<MultipartUpload> {
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ Bucket, Key, StorageClass, ChecksumAlgorithm }),
  )
  const target = { Bucket, Key, UploadId }
  const sent: CompletedPart[] = []
  let size = 0
  const stop = new AbortController()

  async function send({ number: PartNumber, bytes: Body }: Part) {
    const { ETag, ChecksumCRC32 } = await client.send(
      new UploadPartCommand({ ...target, PartNumber, Body, ChecksumAlgorithm }),
      { abortSignal: stop.signal },
    )
    sent[PartNumber - 1] = { PartNumber, ETag, ChecksumCRC32 }
    size += Body.length
  }
  async function sender(taken?: Part) {
    const next = async (spent?: Buffer) => (await parts.next(spent)).value
    for (let part = taken ?? (await next()); part; part = await next(part.bytes)) await send(part)
  }
  const abort = (signal?: AbortSignal) => abortMultipart(client, target, signal)

  const senders = [sender(first), ...Array.from({ length: PARTS_AT_ONCE - 1 }, () => sender())]
  try {
    await Promise.all([finished(source, { writable: false }), ...senders])
  } catch (error) {
    // A part that arrives after the abort would stay for ever. So first all senders must have stopped.
    stop.abort()
    source.destroy()
    await Promise.allSettled(senders)
    await abort(AbortSignal.timeout(timeouts.idle)).catch(() => {}) // then the sweep does it
    throw error
  }
  return {
    size,
    async complete() {
      await client.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts: sent } }))
    },
    abort,
  }
}

/** Deletes an unfinished upload and its parts. It is not an error if the upload does not exist. */
export async function abortMultipart(
  client: S3Client,
  upload: AbortMultipartUploadCommandInput,
  abortSignal?: AbortSignal,
) {
  try {
    await client.send(new AbortMultipartUploadCommand(upload), { ...(abortSignal && { abortSignal }) })
  } catch (error) {
    if (!isNoSuchUpload(error)) throw error
  }
}

export const isNoSuchUpload = (error: unknown) =>
  error instanceof S3ServiceException && error.name === 'NoSuchUpload'
