import {
  GetBucketLifecycleConfigurationCommand,
  type LifecycleRule,
  PutBucketLifecycleConfigurationCommand,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import type { Bucket } from './bucket.ts'

const DAY_MS = 86_400_000
const ID = 'hasty-abort-uploads'

/**
 * Adds a lifecycle rule to the bucket that aborts unfinished multipart uploads under the prefix.
 *
 * A bucket has one list of rules, which is always written as a whole. If Hasty did not make all of the rules, nothing is
 * changed: the other rules belong to somebody, and a server's own extensions of them would be lost. A rule of Hasty that
 * is too early is replaced.
 *
 * @param keepFor how long an upload may take, in milliseconds; it is rounded up to days
 * @returns a sentence about the change, or the reason why nothing was changed
 */
export async function abortStaleUploads(
  { client, name: Bucket, prefix }: Bucket,
  keepFor: number,
): Promise<string> {
  // S3 adds the days, and rounds up to the next midnight.
  const days = Math.max(1, Math.ceil(keepFor / DAY_MS))
  const after = days === 1 ? '1 day' : `${days} days`
  const purpose = `abort multipart uploads under "${prefix}" in bucket ${Bucket} ${after} after their start`
  try {
    const rules = await readRules()
    const own = `${ID}-${prefix}`
    const covering = rules.filter((rule) => covers(rule, prefix))
    const early = covering.filter((rule) => daysOf(rule) < days && rule.ID !== own)
    if (early.length > 0) {
      const names = early.map(({ ID }) => ID).join(', ')
      return `A lifecycle rule (${names}) aborts uploads that RESUME_WITHIN still allows. Change it: ${purpose}.`
    }
    if (covering.some((rule) => daysOf(rule) >= days)) return `A lifecycle rule exists already: ${purpose}.`
    if (!rules.every(isOurs)) {
      return `The bucket has lifecycle rules that Hasty did not make. No rule was added. Add this rule yourself: ${purpose}.`
    }
    const rule: LifecycleRule = {
      ID: own,
      Status: 'Enabled',
      Filter: { Prefix: prefix },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: days },
    }
    await client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket,
        LifecycleConfiguration: { Rules: [...rules.filter(({ ID }) => ID !== own), rule] },
      }),
    )
    return `A lifecycle rule was added: ${purpose}.`
  } catch (error) {
    const { cause = error } = error as Error
    if (!isRefusal(cause)) throw error
    return `The object store allows no lifecycle rule (${cause.name}). Only the sweep will ${purpose}.`
  }

  async function readRules() {
    try {
      const { Rules = [] } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))
      return Rules
    } catch (error) {
      if (error instanceof S3ServiceException && error.name === 'NoSuchLifecycleConfiguration') return []
      throw error
    }
  }
}

const daysOf = ({ AbortIncompleteMultipartUpload }: LifecycleRule) =>
  AbortIncompleteMultipartUpload?.DaysAfterInitiation ?? 0

const isOurs = ({ ID: id }: LifecycleRule) => id?.startsWith(ID) ?? false

function covers({ Status, AbortIncompleteMultipartUpload, Filter, Prefix }: LifecycleRule, prefix: string) {
  const { Prefix: scope = '', ...narrower } = Filter ?? { Prefix }
  return (
    Status === 'Enabled' &&
    AbortIncompleteMultipartUpload !== undefined &&
    Object.values(narrower).every((condition) => condition === undefined) &&
    prefix.startsWith(scope)
  )
}

/** The server does not implement lifecycle rules, or does not allow these credentials to set them. */
const isRefusal = (error: unknown): error is S3ServiceException =>
  error instanceof S3ServiceException && [400, 403, 405, 501].includes(error.$metadata.httpStatusCode ?? 0)
