import { S3ServiceException } from '@aws-sdk/client-s3'
import { StoreUnavailable } from '../../unavailable.ts'
import { ObjectNotFound, StoreFull } from '../object-store.ts'

/** Throws `StoreUnavailable` if no attempt had a response, or the server responded that it is busy or down. */
export function rethrowUnavailable(error: unknown): never {
  throw isUnavailable(error) ? new StoreUnavailable('object store', { cause: error }) : error
}

/** Every error of a request has `$metadata`. */
function isUnavailable(error: unknown) {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
  if (!$metadata || name === 'AbortError' || name === 'CredentialsProviderError') return false
  const { httpStatusCode } = $metadata
  return httpStatusCode === undefined || [429, 500, 502, 503, 504].includes(httpStatusCode)
}

export const rethrowNotFound = (key: string) => (error: unknown) => {
  // The response to HEAD has no body, and therefore no error code except its status.
  throw error instanceof S3ServiceException && ['NoSuchKey', 'NotFound'].includes(error.name)
    ? new ObjectNotFound(`There is no object ${key}.`)
    : error
}

/**
 * `StoreFull` if the server refused a write for lack of space. AWS is never full. The codes of other servers: Ceph and
 * Versity QuotaExceeded, Ozone QUOTA_EXCEEDED, NooBaa ObjectQuotaExceeded, MinIO XMinioAdminBucketQuotaExceeded and
 * XMinioStorageFull.
 */
export const toStoreFull = (error: unknown) =>
  error instanceof S3ServiceException &&
  (error.$metadata.httpStatusCode === 507 || /quota_?exceeded|storagefull/i.test(error.name))
    ? new StoreFull('The object store is full.', { cause: error })
    : error
