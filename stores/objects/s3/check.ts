import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { StoreUnavailable } from '../../unavailable.ts'
import type { Bucket } from './bucket.ts'
import { sendMultipart } from './multipart.ts'
import { inParts } from './parts.ts'
import { rename } from './rename.ts'
import { put, remove, sizeOf, target } from './staging.ts'

const BYTES = 1_000

/**
 * Tries all operations of the service with a small object, and deletes it.
 *
 * @throws {Error} the server does not implement an operation; the message names it, and says what to do
 * @throws {StoreUnavailable} the bucket can't be used; the message gives the reason
 */
export async function checkBucket(bucket: Bucket): Promise<void> {
  const key = `hasty-check-${randomBytes(8).toString('hex')}`
  const bytes = randomBytes(BYTES)
  await step(bucket, 'write an object', () => put(bucket, key, bytes))
  try {
    await step(bucket, 'read the size of an object', async () => {
      if ((await sizeOf(bucket, key)) !== BYTES) throw new Error('The size is wrong.')
    })
    await step(bucket, 'read an object', async () => expectBytes(await read(bucket, key), bytes))
    await step(bucket, 'read a range of an object', async () =>
      expectBytes(await read(bucket, key, 'bytes=10-19'), bytes.subarray(10, 20)),
    )
    await step(bucket, 'copy an object', () => rename(bucket, key, `${key}-copy`))
    await step(bucket, 'list objects', () =>
      bucket.client.send(
        new ListObjectsV2Command({ Bucket: bucket.name, Prefix: bucket.prefix, MaxKeys: 1 }),
      ),
    )
    await step(bucket, 'make a multipart upload', () => checkMultipart(bucket, `${key}-parts`))
    await step(bucket, 'delete an object', () => remove(bucket, `${key}-copy`))
  } catch (error) {
    await Promise.allSettled([key, `${key}-copy`, `${key}-parts`].map((name) => remove(bucket, name)))
    throw error
  }
}

async function checkMultipart(bucket: Bucket, key: string) {
  const source = Readable.from([randomBytes(BYTES)])
  const memory = bucket.memory.open()
  const parts = inParts(source, memory)
  try {
    const first = (await parts.next(undefined)).value!
    await (await sendMultipart(bucket, bucket.prefix + key, { source, first, parts })).complete()
    await remove(bucket, key)
  } finally {
    await parts.return()
    memory.close()
  }
}

async function read(bucket: Bucket, key: string, Range?: string) {
  const { Body } = await bucket.client.send(new GetObjectCommand({ ...target(bucket, key), Range }))
  return buffer(Body as Readable)
}

function expectBytes(actual: Buffer, expected: Buffer) {
  if (!actual.equals(expected))
    throw new Error(
      `The server returned ${actual.length} bytes instead of ${expected.length}, or other bytes.`,
    )
}

/** Adds the failed step to an error. A server that can't be reached or is busy is not a failed check. */
async function step(bucket: Bucket, action: string, work: () => Promise<unknown>) {
  try {
    await work()
  } catch (error) {
    const { message, cause = error } = error as Error
    const { name = '', $metadata } = cause as { name?: string; $metadata?: { httpStatusCode?: number } }
    const status = $metadata?.httpStatusCode
    const refused = status === undefined ? !$metadata : status === 501 || (status < 500 && status !== 429)
    if (error instanceof StoreUnavailable && !refused) throw error
    // Servers without the checksums respond with NotImplemented, InvalidRequest or InvalidArgument.
    const hint =
      bucket.checksum && (status === 501 || /^Invalid(Request|Argument)$/.test(name))
        ? ' If the server does not implement checksums, add checksums=when-required to the URL.'
        : ''
    throw new Error(
      `The bucket ${bucket.name} can't be used: the service can't ${action} in it. ${message}${hint}`,
      { cause },
    )
  }
}
