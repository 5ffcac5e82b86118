import { type ChecksumAlgorithm, S3Client, type StorageClass } from '@aws-sdk/client-s3'
import { measure } from '../../telemetry.ts'
import { rethrowUnavailable } from './faults.ts'
import type { MemoryBudget } from './memory.ts'

/** A bucket, or a prefix in it, and a client to reach it. */
export interface Bucket {
  client: S3Client
  name: string
  /** All names of objects begin with it: empty, or it ends with a slash. */
  prefix: string
  /** The storage class of new objects; undefined for the bucket's default. */
  storageClass: StorageClass | undefined
  /** The checksum that requests with a body have; undefined if the server implements none. */
  checksum: ChecksumAlgorithm | undefined
  timeouts: Timeouts
  /** The memory of all uploads of the process. */
  memory: MemoryBudget
}

/** Milliseconds. */
export interface Timeouts {
  /** To get a connection, a new one or a free one of the pool. */
  connect: number
  /** Without a byte in either direction: the server stalls, or a reader does not read. */
  idle: number
  /** From a request's first byte to the response's header. */
  request: number
}

const ATTEMPTS = 4
const CONNECTIONS = 256
const PARAMETERS = ['endpoint', 'region', 'forcePathStyle', 'storageClass', 'checksums']

/**
 * Reads `s3://bucket/prefix?endpoint=…&region=…&forcePathStyle=true&storageClass=…&checksums=…`. Each parameter is
 * optional. The AWS SDK's usual chain (environment, profile, the machine's role) gives the credentials, and the region if
 * the URL has none.
 * `checksums=when-required` is for servers that do not implement the checksums that the SDK sends by default.
 *
 * A request of the client throws `StoreUnavailable` if the bucket can't be used, and the SDK's errors otherwise.
 */
export async function openBucket(url: URL, timeouts: Timeouts, memory: MemoryBudget): Promise<Bucket> {
  const { name, prefix, endpoint, region, forcePathStyle, storageClass, checksums } = parse(url)
  const client = new S3Client({
    ...(endpoint && { endpoint }),
    ...(region && { region }),
    forcePathStyle,
    // Failed connections, 500, 502, 503, 504 and throttling are repeated after a random pause that doubles.
    retryMode: 'standard',
    maxAttempts: ATTEMPTS,
    // With it, each larger request would open its own connection, outside of the pool.
    expectContinueHeader: false,
    requestChecksumCalculation: checksums ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
    // To check a response, the SDK pipes it through a stream that keeps the connection when the reader gives up.
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
    (next, { commandName = 'unknown' }) =>
      (request) =>
        measure({ kind: 's3', name: commandName.replace(/Command$/, '') }, () =>
          next(request).catch(rethrowUnavailable),
        ),
    { step: 'initialize', priority: 'high', name: 'storeUnavailable' },
  )
  await client.config.region() // throws if there is none: now, not at the first request
  return {
    client,
    name,
    prefix,
    storageClass: storageClass as StorageClass | undefined,
    checksum: checksums ? 'CRC32' : undefined,
    timeouts,
    memory,
  }
}

function parse(url: URL) {
  const refuse = (fault: string): never => {
    // The message has only the parts that contain no secret.
    throw new Error(`The object store's URL s3://${url.hostname}${url.pathname} ${fault}.`)
  }
  if (!url.hostname) refuse('has no bucket')
  if (url.username || url.password) {
    refuse("contains credentials; put them in the AWS SDK's usual places, for example in AWS_ACCESS_KEY_ID")
  }
  if (url.port || url.hash) refuse('has a port or a fragment; put the address of the server in endpoint=…')

  for (const name of url.searchParams.keys()) {
    if (!PARAMETERS.includes(name)) {
      refuse(`has an unknown parameter ${JSON.stringify(name)}; the parameters are ${PARAMETERS.join(', ')}`)
    }
    if (url.searchParams.getAll(name).length > 1) refuse(`has ${name} more than once`)
    if (!url.searchParams.get(name)) refuse(`has no value for ${name}`)
  }
  const parameter = (name: string) => url.searchParams.get(name) ?? undefined

  const endpoint = parameter('endpoint')
  if (endpoint !== undefined) {
    const parsed = URL.parse(endpoint)
    if (!parsed || !/^https?:$/.test(parsed.protocol))
      return refuse('has an endpoint that is not an http or https URL')
    if (parsed.username || parsed.password) refuse('contains credentials in its endpoint')
  }
  const forcePathStyle = parameter('forcePathStyle') ?? 'false'
  if (!['true', 'false'].includes(forcePathStyle))
    refuse('has a forcePathStyle that is neither true nor false')

  const checksums = parameter('checksums') ?? 'when-supported'
  if (!['when-supported', 'when-required'].includes(checksums))
    refuse('has a value of checksums that is neither when-supported nor when-required')

  if (/%(?![0-9a-f]{2})/i.test(url.pathname)) refuse('has a % without two hexadecimal digits')
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '')
  return {
    name: url.hostname,
    prefix: prefix && `${prefix}/`,
    endpoint,
    region: parameter('region'),
    forcePathStyle: forcePathStyle === 'true',
    storageClass: parameter('storageClass'),
    checksums: checksums === 'when-supported',
  }
}
