import type { Readable } from 'node:stream'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  type ListPartsCommandOutput,
  PutObjectCommand,
  paginateListObjectsV2,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import {
  type HasSetup,
  ObjectNotFound,
  type ObjectStore,
  type StagedObject,
  type StoredObject,
  StoreFull,
} from '../object-store.ts'
import { openBucket, type Timeouts } from './bucket.ts'
import { abortStaleUploads } from './lifecycle.ts'
import { abortMultipart, isNoSuchUpload, type MultipartUpload, sendMultipart } from './multipart.ts'
import { inParts } from './parts.ts'

const INCOMING = 'incoming/'
const KEY = /^[A-Za-z0-9]+$/
const TIMEOUTS: Timeouts = { connect: 5_000, idle: 20_000, request: 300_000 }

/**
 * Objects in a bucket of any server that speaks S3.
 *
 * A source that ends within one part is staged in memory: to commit it is one PUT, to discard it costs nothing. A longer
 * one is staged as a multipart upload, which is completed to commit it. So an object is whole, whatever died when.
 *
 * An object is put without `If-None-Match`: its key is new, and to the second try of a PUT whose answer got lost, the
 * condition would say that the object is there.
 *
 * @param url as `openBucket` reads it
 */
export async function createS3Store(url: URL, timeouts = TIMEOUTS): Promise<ObjectStore & HasSetup> {
  const bucket = await openBucket(url, timeouts)
  const { client, name: Bucket, prefix, storageClass: StorageClass } = bucket
  const at = (key: string) => ({ Bucket, Key: prefix + key })

  async function sizeOf(key: string) {
    const { ContentLength } = await client.send(new HeadObjectCommand(at(key))).catch(asNotFound(key))
    return ContentLength ?? 0
  }

  const remove = (key: string, abortSignal?: AbortSignal) =>
    client.send(new DeleteObjectCommand(at(key)), { ...(abortSignal && { abortSignal }) })

  const held = (key: string, Body: Buffer): StagedObject => ({
    content: Body,
    async commit() {
      try {
        await client.send(
          new PutObjectCommand({ ...at(key), Body, StorageClass, ChecksumAlgorithm: 'CRC32' }),
        )
      } catch (error) {
        await cleanUp((signal) => remove(key, signal))
        throw asStoreFull(error)
      }
    },
    async discard() {},
  })

  const sent = (key: string, upload: MultipartUpload): StagedObject => ({
    async commit() {
      try {
        await upload.complete()
      } catch (error) {
        // A first try whose answer got lost has done it: the next one finds no upload, but the object.
        if (isNoSuchUpload(error) && (await sizeOf(key).catch(() => -1)) === upload.size) return
        await cleanUp(upload.abort, (signal) => remove(key, signal))
        throw asStoreFull(error)
      }
    },
    discard: () => upload.abort(),
  })

  /** After an error, when it may not be known what the server has done. What takes too long is left to the sweep. */
  const cleanUp = (...steps: ((signal: AbortSignal) => Promise<unknown>)[]) =>
    Promise.allSettled(steps.map((step) => step(AbortSignal.timeout(timeouts.idle))))

  const openUploads = () =>
    pages<ListMultipartUploadsCommandOutput>((last) =>
      client.send(
        new ListMultipartUploadsCommand({
          Bucket,
          Prefix: prefix,
          KeyMarker: last?.NextKeyMarker,
          UploadIdMarker: last?.NextUploadIdMarker,
        }),
      ),
    )

  const partsOf = (upload: { Key: string; UploadId: string }) =>
    pages<ListPartsCommandOutput>((last) =>
      client.send(new ListPartsCommand({ Bucket, ...upload, PartNumberMarker: last?.NextPartNumberMarker })),
    )

  return {
    async stage(key, source) {
      // When all has been read nobody listens any more, and the source may still fail.
      source.on('error', () => {})
      const parts = inParts(source)
      try {
        const first = (await parts.next(undefined)).value!
        if (first.last) return held(key, first.bytes)
        const upload = await sendMultipart(bucket, prefix + key, { source, first, parts }, timeouts.idle)
        return sent(key, upload)
      } catch (error) {
        source.destroy()
        throw asStoreFull(error)
      }
    },

    async get(key, range) {
      const Range = range && `bytes=${range.start}-${range.end}`
      const { Body } = await client.send(new GetObjectCommand({ ...at(key), Range })).catch(asNotFound(key))
      return Body as Readable
    },

    size: sizeOf,

    async delete(key) {
      if (key.startsWith(INCOMING)) {
        const [, name, ...id] = key.split('/')
        await abortMultipart(client, { ...at(name!), UploadId: id.join('/') })
      } else {
        await remove(key)
      }
    },

    // What has other names is somebody else's.
    async *list() {
      for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket, Prefix: prefix })) {
        for (const { Key, Size, LastModified } of Contents) {
          const key = Key!.slice(prefix.length)
          if (KEY.test(key)) yield { key, size: Size!, modifiedAt: LastModified! } satisfies StoredObject
        }
      }
      for await (const { Uploads = [] } of openUploads()) {
        for (const { Key, UploadId, Initiated } of Uploads) {
          const key = Key!.slice(prefix.length)
          if (!KEY.test(key)) continue
          let size = 0
          try {
            for await (const { Parts = [] } of partsOf({ Key: Key!, UploadId: UploadId! })) {
              for (const { Size } of Parts) size += Size!
            }
          } catch (error) {
            if (isNoSuchUpload(error)) continue // it has ended by now
            throw error
          }
          yield { key: `${INCOMING}${key}/${UploadId}`, size, modifiedAt: Initiated! } satisfies StoredObject
        }
      }
    },

    async ping() {
      await client.send(new HeadBucketCommand({ Bucket }))
    },

    setUp: () => abortStaleUploads(bucket),
  }
}

/** The pages of a listing. By hand where the SDK's paginator goes by the marker alone and so never ends on Ceph. */
async function* pages<Page extends { IsTruncated?: boolean | undefined }>(
  next: (last?: Page) => Promise<Page>,
): AsyncGenerator<Page> {
  let page: Page | undefined
  do {
    page = await next(page)
    yield page
  } while (page.IsTruncated)
}

const asNotFound = (key: string) => (error: unknown) => {
  // A HEAD's answer has no body, and so no code but its status.
  throw error instanceof S3ServiceException && ['NoSuchKey', 'NotFound'].includes(error.name)
    ? new ObjectNotFound(`there is no object ${key}`)
    : error
}

// S3 itself is never full. The codes of others: Ceph and Versity QuotaExceeded, Ozone QUOTA_EXCEEDED, NooBaa
// ObjectQuotaExceeded, MinIO XMinioAdminBucketQuotaExceeded and XMinioStorageFull.
const asStoreFull = (error: unknown) =>
  error instanceof S3ServiceException &&
  (error.$metadata.httpStatusCode === 507 || /quota_?exceeded|storagefull/i.test(error.name))
    ? new StoreFull('there is no room left in the object store', { cause: error })
    : error
