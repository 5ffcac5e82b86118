import type { Readable } from 'node:stream'
import { GetObjectCommand, HeadBucketCommand } from '@aws-sdk/client-s3'
import type { ByteRange } from '../../../schemas/byte-range.ts'
import type { HasSetup, ObjectStore } from '../object-store.ts'
import { type Bucket, openBucket, type Timeouts } from './bucket.ts'
import { rethrowNotFound } from './faults.ts'
import { abortStaleUploads } from './lifecycle.ts'
import { INCOMING, listObjects, listUploads } from './listing.ts'
import { abortMultipart } from './multipart.ts'
import { remove, sizeOf, stage, target } from './staging.ts'

const TIMEOUTS: Timeouts = { connect: 5_000, idle: 20_000, request: 300_000 }

/**
 * Objects in a bucket of any server that implements S3. An object that fits into one part is staged in memory, a longer
 * one as a multipart upload. So an object in the bucket is always complete.
 *
 * @param url as `openBucket` reads it
 */
export async function createS3Store(url: URL, timeouts = TIMEOUTS): Promise<ObjectStore & HasSetup> {
  const bucket = await openBucket(url, timeouts)
  return {
    stage: (key, source) => stage(bucket, key, source, timeouts.idle),
    get: (key, range) => get(bucket, key, range),
    size: (key) => sizeOf(bucket, key).catch(rethrowNotFound(key)),
    delete: (key) => deleteListed(bucket, key),
    async *list() {
      yield* listObjects(bucket)
      yield* listUploads(bucket)
    },
    async ping() {
      await bucket.client.send(new HeadBucketCommand({ Bucket: bucket.name }))
    },
    setUp: () => abortStaleUploads(bucket),
  }
}

async function get(bucket: Bucket, key: string, range?: ByteRange) {
  const Range = range && `bytes=${range.start}-${range.end}`
  const { Body } = await bucket.client
    .send(new GetObjectCommand({ ...target(bucket, key), Range }))
    .catch(rethrowNotFound(key))
  return Body as Readable
}

async function deleteListed(bucket: Bucket, key: string) {
  if (!key.startsWith(INCOMING)) {
    await remove(bucket, key)
    return
  }
  const [, name, ...id] = key.split('/')
  await abortMultipart(bucket.client, { ...target(bucket, name!), UploadId: id.join('/') })
}
