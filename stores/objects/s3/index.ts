import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { GetObjectCommand, HeadBucketCommand } from '@aws-sdk/client-s3'
import type { ByteRange } from '../../../schemas/byte-range.ts'
import {
  type Appendable,
  type HasCheck,
  type HasSetup,
  INCOMING,
  INSTALLATION,
  ObjectNotFound,
  type ObjectStore,
  RESUMABLE,
  TRASH,
} from '../object-store.ts'
import { abandon, append, begin, finish, sizeOfUnfinished } from './append.ts'
import { type Bucket, openBucket, type Timeouts } from './bucket.ts'
import { checkBucket } from './check.ts'
import { rethrowMissingBucket, rethrowNotFound } from './faults.ts'
import { abortStaleUploads } from './lifecycle.ts'
import { listObjects, listUploads } from './listing.ts'
import { createMemoryBudget, type MemoryBudget } from './memory.ts'
import { abortMultipart } from './multipart.ts'
import { rename } from './rename.ts'
import { put, remove, sizeOf, stage, target } from './staging.ts'

const TIMEOUTS: Timeouts = { connect: 5_000, idle: 20_000, request: 300_000 }

/**
 * Objects in a bucket of any server that implements S3. An object that fits into one part is staged in memory, a longer
 * one as a multipart upload. So an object in the bucket is always complete.
 *
 * @param url as `openBucket` reads it
 * @param memory the budget of all uploads of the process
 */
export async function createS3Store(
  url: URL,
  { timeouts = TIMEOUTS, memory = createMemoryBudget() }: { timeouts?: Timeouts; memory?: MemoryBudget } = {},
): Promise<ObjectStore & HasSetup & HasCheck & Appendable> {
  const bucket = await openBucket(url, timeouts, memory)
  return {
    stage: (key, source) => stage(bucket, key, source),
    get: (key, range) => get(bucket, key, range),
    size: (key) => sizeOf(bucket, key).catch(rethrowNotFound(key)),
    delete: (key) => deleteListed(bucket, key),
    rename: (from, to) => rename(bucket, from, to),
    async *list() {
      yield* listObjects(bucket)
      yield* listUploads(bucket)
    },
    begin,
    append: (upload, source, options) => append(bucket, upload, source, options),
    sizeOfUnfinished: (upload) => sizeOfUnfinished(bucket, upload),
    finish: (upload) => finish(bucket, upload),
    abandon: (upload) => abandon(bucket, upload),
    readInstallation: () => readInstallation(bucket),
    async writeInstallation(id) {
      await put(bucket, INSTALLATION, id)
    },
    async ping() {
      await bucket.client.send(new HeadBucketCommand({ Bucket: bucket.name })).catch(rethrowMissingBucket)
    },
    check: () => checkBucket(bucket),
    setUp: (keepFor) => abortStaleUploads(bucket, keepFor),
  }
}

async function readInstallation(bucket: Bucket) {
  try {
    return (await text(await get(bucket, INSTALLATION))).trim()
  } catch (error) {
    if (error instanceof ObjectNotFound) return undefined
    throw error
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
  if (!key.startsWith(INCOMING) || key.startsWith(RESUMABLE)) {
    await remove(bucket, key)
    return
  }
  const [name, uploadId] = splitUpload(key.slice(INCOMING.length))
  await abortMultipart(bucket.client, { ...target(bucket, name), UploadId: uploadId })
}

/** Splits `<key>/<upload id>`. A key in the trash has a slash too, and so may an upload id. */
function splitUpload(name: string) {
  const slash = name.indexOf('/', name.startsWith(TRASH) ? TRASH.length : 0)
  return [name.slice(0, slash), name.slice(slash + 1)] as const
}
