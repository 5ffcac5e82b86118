import type { Readable } from 'node:stream'
import { CopyObjectCommand, GetObjectCommand } from '@aws-sdk/client-s3'
import type { Bucket } from './bucket.ts'
import { rethrowNotFound } from './faults.ts'
import { remove, sizeOf, stage, target } from './staging.ts'

/** CopyObject copies at most 5 GiB. */
const COPY_BYTES = 5 * 2 ** 30

/** S3 has no rename: the object is copied, by the server if possible, and the original is deleted. */
export async function rename(bucket: Bucket, from: string, to: string) {
  const size = await sizeOf(bucket, from).catch(rethrowNotFound(from))
  if (size <= COPY_BYTES) {
    const { Bucket: name, Key } = target(bucket, from)
    await bucket.client.send(
      new CopyObjectCommand({
        ...target(bucket, to),
        CopySource: `${name}/${encodeURI(Key)}`,
        StorageClass: bucket.storageClass,
      }),
    )
  } else {
    const { Body } = await bucket.client.send(new GetObjectCommand(target(bucket, from)))
    await (await stage(bucket, to, Body as Readable)).commit()
  }
  await remove(bucket, from)
}
