import {
  GetBucketLifecycleConfigurationCommand,
  type LifecycleRule,
  PutBucketLifecycleConfigurationCommand,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import type { Bucket } from './bucket.ts'

const DAYS = 1 // the least that S3 knows
const ID = 'hasty-abort-uploads'

/**
 * Has the bucket itself abort multipart uploads that nobody has completed, by a lifecycle rule for the prefix.
 *
 * A bucket has one list of rules, which is written as a whole. Where there are rules that Hasty has not made, all is
 * left as it is: they belong to somebody, and a server's own extensions would get lost on the way.
 *
 * @returns what was done, or why nothing was
 */
export async function abortStaleUploads({ client, name: Bucket, prefix }: Bucket): Promise<string> {
  const wish = `abort multipart uploads under "${prefix}" in bucket ${Bucket} ${DAYS} day after their start`
  try {
    const rules = await readRules()
    if (rules.some((rule) => covers(rule, prefix))) return `A lifecycle rule is there already: ${wish}.`
    if (!rules.every(isOurs)) {
      return `The bucket has lifecycle rules that Hasty has not made, so none was added. Please add one: ${wish}.`
    }
    const rule: LifecycleRule = {
      ID: `${ID}-${prefix}`,
      Status: 'Enabled',
      Filter: { Prefix: prefix },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: DAYS },
    }
    await client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket,
        LifecycleConfiguration: { Rules: [...rules, rule] },
      }),
    )
    return `A lifecycle rule was added: ${wish}.`
  } catch (error) {
    if (!isRefusal(error)) throw error
    return `The object store allows no lifecycle rule (${error.name}). The sweep alone will ${wish}.`
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

/** The server knows no lifecycle rules, or lets others set them. That there is no bucket is something else. */
const isRefusal = (error: unknown): error is S3ServiceException =>
  error instanceof S3ServiceException && [400, 403, 405, 501].includes(error.$metadata.httpStatusCode ?? 0)
