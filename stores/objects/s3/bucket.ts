import { S3Client, type StorageClass } from '@aws-sdk/client-s3'
import { StoreUnavailable } from '../../unavailable.ts'

/** A bucket, or what is under a prefix of it, and how to reach it. */
export interface Bucket {
  client: S3Client
  name: string
  /** What the names of all objects begin with: empty, or it ends with a slash. */
  prefix: string
  /** The class that objects are written in; without it, the bucket's own. */
  storageClass: StorageClass | undefined
}

/** Milliseconds. */
export interface Timeouts {
  /** To get a connection, be it a new one or the next that is free. */
  connect: number
  /** Without a byte, in either direction: a stalled server, or a reader that stands still and keeps a connection. */
  idle: number
  /** From a request's first byte to the answer's head. */
  request: number
}

const ATTEMPTS = 4
const CONNECTIONS = 256
const PARAMETERS = ['endpoint', 'region', 'forcePathStyle', 'storageClass']

/**
 * Reads `s3://bucket/prefix?endpoint=…&region=…&forcePathStyle=true&storageClass=…`, each parameter optional. The region,
 * where it is not given, and the credentials come by the AWS SDK's usual chain: environment, profile, the machine's role.
 * A request of the client throws `StoreUnavailable` where the server is away, and else the SDK's errors.
 */
export async function openBucket(url: URL, timeouts: Timeouts): Promise<Bucket> {
  const { name, prefix, endpoint, region, forcePathStyle, storageClass } = parse(url)
  const client = new S3Client({
    ...(endpoint && { endpoint }),
    ...(region && { region }),
    forcePathStyle,
    // Failed connections, 500, 502, 503, 504 and throttling are tried again after a random, doubling time.
    retryMode: 'standard',
    maxAttempts: ATTEMPTS,
    // It would have each larger request open a connection of its own, beside the pool.
    expectContinueHeader: false,
    // To check an answer, the SDK pipes it through a stream that does not let go of the connection when the reader does.
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: timeouts.connect,
      socketTimeout: timeouts.idle,
      requestTimeout: timeouts.request,
      throwOnRequestTimeout: true,
      httpAgent: { keepAlive: true, maxSockets: CONNECTIONS },
      httpsAgent: { keepAlive: true, maxSockets: CONNECTIONS },
    },
  })
  client.middlewareStack.add(
    (next) => async (request) => {
      try {
        return await next(request)
      } catch (error) {
        throw isAway(error) ? new StoreUnavailable('object store', { cause: error }) : error
      }
    },
    { step: 'initialize', priority: 'high', name: 'storeUnavailable' },
  )
  await client.config.region() // throws where there is none: better now than at the first request
  return { client, name, prefix, storageClass: storageClass as StorageClass | undefined }
}

/** Whether no try had an answer, or the server said that it can't at the moment. Any error of a request has `$metadata`. */
function isAway(error: unknown) {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
  if (!$metadata || name === 'AbortError' || name === 'CredentialsProviderError') return false
  const { httpStatusCode } = $metadata
  return httpStatusCode === undefined || [429, 500, 502, 503, 504].includes(httpStatusCode)
}

function parse(url: URL) {
  const refuse = (what: string): never => {
    // Only the parts that hold no secret are shown.
    throw new Error(`the object store's URL, s3://${url.hostname}${url.pathname}, ${what}`)
  }
  if (!url.hostname) refuse('names no bucket')
  if (url.username || url.password) {
    refuse("has credentials in it; they are taken from the AWS SDK's usual places, as AWS_ACCESS_KEY_ID")
  }
  if (url.port || url.hash) refuse('has a port or a fragment; where the server is, endpoint=… says')

  for (const name of url.searchParams.keys()) {
    if (!PARAMETERS.includes(name)) {
      refuse(`has an unknown parameter ${JSON.stringify(name)}; the known ones are ${PARAMETERS.join(', ')}`)
    }
    if (url.searchParams.getAll(name).length > 1) refuse(`has ${name} more than once`)
    if (!url.searchParams.get(name)) refuse(`has no value for ${name}`)
  }
  const parameter = (name: string) => url.searchParams.get(name) ?? undefined

  const endpoint = parameter('endpoint')
  if (endpoint !== undefined) {
    const parsed = URL.parse(endpoint)
    if (!parsed || !/^https?:$/.test(parsed.protocol))
      return refuse('has an endpoint that is no http or https URL')
    if (parsed.username || parsed.password) refuse('has credentials in its endpoint')
  }
  const forcePathStyle = parameter('forcePathStyle') ?? 'false'
  if (!['true', 'false'].includes(forcePathStyle))
    refuse('has a forcePathStyle that is neither true nor false')

  if (/%(?![0-9a-f]{2})/i.test(url.pathname)) refuse('has a % that is no escape')
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '')
  return {
    name: url.hostname,
    prefix: prefix && `${prefix}/`,
    endpoint,
    region: parameter('region'),
    forcePathStyle: forcePathStyle === 'true',
    storageClass: parameter('storageClass'),
  }
}
