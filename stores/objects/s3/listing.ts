import {
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  type ListPartsCommandOutput,
  paginateListObjectsV2,
} from '@aws-sdk/client-s3'
import { INCOMING, isObjectKey, RESUMABLE, type StoredObject } from '../object-store.ts'
import type { Bucket } from './bucket.ts'
import { isNoSuchUpload } from './multipart.ts'

export async function* listObjects({ client, name, prefix }: Bucket): AsyncGenerator<StoredObject> {
  for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket: name, Prefix: prefix })) {
    for (const { Key, Size, LastModified } of Contents) {
      const key = Key!.slice(prefix.length)
      if (isObjectKey(key) || key.startsWith(RESUMABLE)) yield { key, size: Size!, modifiedAt: LastModified! }
    }
  }
}

/** Multipart uploads that are neither completed nor aborted, with the keys `incoming/<key>/<upload id>`. */
export async function* listUploads(bucket: Bucket): AsyncGenerator<StoredObject> {
  const { client, name, prefix } = bucket
  const uploads = pages<ListMultipartUploadsCommandOutput>((last) =>
    client.send(
      new ListMultipartUploadsCommand({
        Bucket: name,
        Prefix: prefix,
        KeyMarker: last?.NextKeyMarker,
        UploadIdMarker: last?.NextUploadIdMarker,
      }),
    ),
  )
  for await (const { Uploads = [] } of uploads) {
    for (const { Key, UploadId, Initiated } of Uploads) {
      const key = Key!.slice(prefix.length)
      if (!isObjectKey(key)) continue
      const size = await sizeOfUpload(bucket, { Key: Key!, UploadId: UploadId! })
      if (size !== undefined) yield { key: `${INCOMING}${key}/${UploadId}`, size, modifiedAt: Initiated! }
    }
  }
}

/** The bytes that the server has received; undefined if the upload has ended. */
export async function sizeOfUpload({ client, name }: Bucket, upload: { Key: string; UploadId: string }) {
  const parts = pages<ListPartsCommandOutput>((last) =>
    client.send(
      new ListPartsCommand({ Bucket: name, ...upload, PartNumberMarker: last?.NextPartNumberMarker }),
    ),
  )
  let size = 0
  try {
    for await (const { Parts = [] } of parts) for (const { Size } of Parts) size += Size!
    return size
  } catch (error) {
    if (isNoSuchUpload(error)) return undefined
    throw error
  }
}

/** The pages of a listing. The SDK's own paginator looks at the marker only, and never ends on Ceph. */
async function* pages<Page extends { IsTruncated?: boolean | undefined }>(
  next: (last?: Page) => Promise<Page>,
): AsyncGenerator<Page> {
  let page: Page | undefined
  do {
    page = await next(page)
    yield page
  } while (page.IsTruncated)
}
