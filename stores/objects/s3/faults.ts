import { S3ServiceException } from '@aws-sdk/client-s3'
import { StoreUnavailable } from '../../unavailable.ts'
import { ObjectNotFound, StoreFull } from '../object-store.ts'

/**
 * Throws `StoreUnavailable` if the server can't be reached or is busy, and also if it refuses all requests because of a
 * setting that an operator may correct at any time: permissions, credentials, the bucket's name.
 */
export function rethrowUnavailable(error: unknown): never {
  const fault = faultOf(error)
  throw fault ? new StoreUnavailable('object store', { cause: error }, fault) : error
}

const REFUSALS: Record<string, string> = {
  AccessDenied: 'refuses access',
  AllAccessDisabled: 'refuses access',
  Forbidden: 'refuses access',
  InvalidAccessKeyId: 'does not know the access key',
  SignatureDoesNotMatch: 'refuses the secret key',
  ExpiredToken: 'refuses expired credentials',
  InvalidToken: 'refuses the credentials',
  RequestTimeTooSkewed: "refuses this machine's clock",
  NoSuchBucket: 'has no such bucket',
  PermanentRedirect: 'has the bucket in another region or endpoint',
  AuthorizationHeaderMalformed: 'has the bucket in another region',
  NotImplemented: 'does not implement a part of the request; see checksums=when-required',
}

/** The fault of the server, for `StoreUnavailable`; undefined for any other error. */
function faultOf(error: unknown) {
  const { name = '', $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
  if (name === 'CredentialsProviderError')
    return 'cannot be used without credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY'
  // Every error of a request has `$metadata`.
  if (!$metadata || name === 'AbortError') return undefined
  const { httpStatusCode } = $metadata
  if (httpStatusCode === undefined) return 'does not respond'
  if ([429, 500, 502, 503, 504].includes(httpStatusCode))
    return `is busy or down (HTTP status ${httpStatusCode})`
  if (isQuota(name)) return undefined
  const refusal = REFUSALS[name] ?? (httpStatusCode === 403 ? 'refuses access' : undefined)
  return refusal && `${refusal} (${name})`
}

const isQuota = (name: string) => /quota_?exceeded|storagefull/i.test(name)

/** The response to HEAD has no body. A missing bucket is only a 404. */
export function rethrowMissingBucket(error: unknown): never {
  throw error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404
    ? new StoreUnavailable('object store', { cause: error }, 'has no such bucket')
    : error
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
  error instanceof S3ServiceException && (error.$metadata.httpStatusCode === 507 || isQuota(error.name))
    ? new StoreFull('The object store is full.', { cause: error })
    : error
