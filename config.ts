import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { envSchema } from 'env-schema'
import { parse } from 'iso8601-duration'
import { Environment } from './schemas/environment.ts'

/** The configuration of a process: checked, and in the units that the code uses. */
export type Config = ReturnType<typeof readConfig>

/** Variables have wrong values. The message names each variable, says what is wrong and gives an example. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/**
 * Reads the configuration from environment variables. An empty variable counts as not set.
 *
 * @throws {ConfigError}
 */
export function readConfig(environment: NodeJS.ProcessEnv = process.env) {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const env = check(given)
  const dataDir = resolve(env.DATA_DIR)
  return {
    host: env.HOST,
    port: env.PORT,
    accessTokens: env.ACCESS_TOKEN?.split(',') ?? [],
    /** Undefined: `access-token` in `dataDir`, created at the first start. */
    accessTokenFile: accessTokenFile(env),
    dataDir,
    databaseUrl: env.DATABASE_URL,
    regions: regions(env, dataDir),
    /** The broker that notifies workers. Undefined: workers poll the database. */
    queueUrls: env.QUEUE_URL === undefined ? undefined : queueUrls(env.QUEUE_URL),
    /** Bytes. */
    inlineLimit: bytes(env.INLINE_LIMIT),
    /** Bytes. */
    maxFileSize: bytes(env.MAX_FILE_SIZE),
    maxFiles: env.MAX_FILES,
    /** Concurrent requests with images. */
    uploadsPerLink: env.UPLOADS_PER_LINK,
    uploadsPerAddress: env.UPLOADS_PER_ADDRESS,
    /** Bytes of unfinished uploads in one process. */
    stagedLimit: bytes(env.STAGED_LIMIT),
    /** Milliseconds since an image was last requested. Undefined: never. */
    archiveAfter: optionalMilliseconds('ARCHIVE_AFTER', env),
    deleteAfter: optionalMilliseconds('DELETE_AFTER', env),
    /** Milliseconds. */
    sweepGrace: milliseconds('SWEEP_GRACE', env.SWEEP_GRACE, { min: 1_000 }),
    /** Milliseconds. */
    trashFor: milliseconds('TRASH_FOR', env.TRASH_FOR, { min: 0 }),
    /** Milliseconds from the start of one verification of all objects to the next one. */
    verifyEvery: milliseconds('VERIFY_EVERY', env.VERIFY_EVERY, { min: 60_000 }),
    /** Bytes per second that the verification reads at most. */
    verifyRate: bytes(env.VERIFY_RATE),
    /** Milliseconds. */
    corruptGrace: milliseconds('CORRUPT_GRACE', env.CORRUPT_GRACE, { min: 0 }),
    /** Milliseconds since its start after which an unfinished resumable upload is deleted. */
    resumeWithin: milliseconds('RESUME_WITHIN', env.RESUME_WITHIN, {
      min: 1_000,
      max: 30 * DAY_SECONDS * 1000,
    }),
    /** The accepted media types. Undefined: all supported ones. */
    accept: env.ACCEPT === undefined ? undefined : new Set(env.ACCEPT.split(/ *, */)),
    /** Whether all images are private. */
    servesOnlyPrivately: env.IMAGES === 'private',
    /** The first signs URLs of private images. Empty: the database keeps a key. */
    signingKeys: keys(env.SIGNING_KEY),
    /** Pixels, ascending: the widths and heights of variants that need no signature. */
    variantSizes: [...new Set(env.VARIANT_SIZES.split(/ *, */).map(Number))].sort((a, b) => a - b),
    /** All are accepted. Empty: variants of other sizes are refused. */
    variantKeys: variantKeys(env),
    /** Whether only images that a decoder has decoded are served. */
    servesOnlyVerified: env.SERVE === 'verified',
    /** Seconds for which caches may serve an image without revalidation; `immutable`: for ever. */
    cacheMaxAge:
      env.CACHE_MAX_AGE === 'immutable'
        ? ('immutable' as const)
        : Math.floor(
            milliseconds('CACHE_MAX_AGE', env.CACHE_MAX_AGE, { min: 0, max: 365 * DAY_SECONDS * 1000 }) /
              1000,
          ),
    /** Whether images are served with or without Exif, XMP and IPTC. */
    publicMetadata: env.PUBLIC_METADATA,
    apiProcesses: env.API_PROCESSES === 'auto' ? availableParallelism() : Number(env.API_PROCESSES),
    workerProcesses: env.WORKER_PROCESSES,
    /** Perhaps with a path, without a slash at the end. Empty if it is not known. */
    publicUrl: env.PUBLIC_URL === undefined ? '' : url('PUBLIC_URL', env.PUBLIC_URL).href.replace(/\/+$/, ''),
    trustProxy: env.TRUST_PROXY === 'true' || (env.TRUST_PROXY !== 'false' && env.TRUST_PROXY),
    /** The origins whose pages may upload and read images. */
    corsOrigins: env.CORS_ORIGIN?.split(/ *, */) ?? [],
    /** Failed look-ups per address, kind and minute. 0: no limit. */
    failedLookupLimit: env.GUESS_LIMIT,
    /** Milliseconds. */
    stopDelay: milliseconds('STOP_DELAY', env.STOP_DELAY, { min: 0, max: 20_000 }),
    /** Milliseconds. */
    clientTimeout: milliseconds('CLIENT_TIMEOUT', env.CLIENT_TIMEOUT, {
      min: 1_000,
      max: DAY_SECONDS * 1000,
    }),
    hideDuplicates: env.HIDE_DUPLICATES === 'true',
    /** Whether there is a console at /admin. */
    adminPages: env.ADMIN_PAGES === 'true',
    /** Undefined: metrics and probes are on the public port. */
    metricsPort: metricsPort(env),
    /** Where traces are sent: the receiver's URL without a slash at the end. Undefined: there are no traces. */
    tracing:
      env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined
        ? undefined
        : {
            endpoint: url('OTEL_EXPORTER_OTLP_ENDPOINT', env.OTEL_EXPORTER_OTLP_ENDPOINT).href.replace(
              /\/+$/,
              '',
            ),
            serviceName: env.OTEL_SERVICE_NAME,
          },
    logLevel: env.LOG_LEVEL,
  }
}

/** Where the command line finds a service, and with which token. */
export interface ClientConfig {
  /** Without a slash at the end. */
  url: string
  /** Whether `url` was set, and is not the default: a service on this machine. */
  isGiven: boolean
  token: string | undefined
}

/**
 * Reads HASTY_URL and HASTY_TOKEN.
 *
 * @throws {ConfigError}
 */
export function readClientConfig(environment: NodeJS.ProcessEnv = process.env): ClientConfig {
  const { HASTY_URL = '', HASTY_TOKEN = '', PORT = '' } = environment
  const url = HASTY_URL || `http://127.0.0.1:${PORT || 3000}`
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw new ConfigError(
      `HASTY_URL is ${JSON.stringify(url)}, but must be the URL of the service. For example: HASTY_URL=https://images.example`,
    )
  return { url: url.replace(/\/+$/, ''), isGiven: HASTY_URL !== '', token: HASTY_TOKEN || undefined }
}

/** This process' environment for a child process, without the secrets that it does not need. */
export function environmentWithout(...names: string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !names.includes(name)))
}

function check(data: Record<string, unknown>): Environment {
  try {
    return envSchema<Environment>({ schema: Environment, data, env: false })
  } catch (error) {
    const names = new Set(
      (error as { errors?: { instancePath: string }[] }).errors?.map(({ instancePath }) =>
        instancePath.slice(1),
      ),
    ) as Set<keyof Environment>
    if (names.size === 0) throw error
    throw new ConfigError([...names].map((name) => refusal(name, data[name])).join('\n'))
  }
}

// Their values may contain a password.
const SECRET = new Set<keyof Environment>([
  'ACCESS_TOKEN',
  'DATABASE_URL',
  'QUEUE_URL',
  'SIGNING_KEY',
  'VARIANT_KEY',
  'OTEL_EXPORTER_OTLP_HEADERS',
])

/** The variables that are set, for the log. Values that may contain a secret are not shown, nor are credentials in URLs. */
export function describeSettings(environment: NodeJS.ProcessEnv = process.env): Record<string, string> {
  return Object.fromEntries(
    Object.keys(Environment.properties)
      .filter((name) => environment[name])
      .map((name) => [
        name,
        SECRET.has(name as keyof Environment)
          ? '(not shown)'
          : environment[name]!.replace(/(?<=:\/\/)[^/?#@]*@/g, ''),
      ]),
  )
}

function refusal(name: keyof Environment, value: unknown) {
  const { description, examples } = Environment.properties[name] as unknown as {
    description: string
    examples: unknown[]
  }
  const shown = SECRET.has(name) ? '(not shown)' : JSON.stringify(value)
  return `${name} is ${shown}, but must be ${description}. For example: ${name}=${examples[0]}`
}

const keys = (list: string | undefined) => list?.split(',').map((key) => Buffer.from(key, 'hex')) ?? []

/** Other people may have VARIANT_KEY, such as the programs that make web pages. It must not open private images. */
function variantKeys({ VARIANT_KEY, SIGNING_KEY }: Environment) {
  const signing = keys(SIGNING_KEY)
  const variants = keys(VARIANT_KEY)
  if (variants.some((key) => signing.some((other) => other.equals(key))))
    throw new ConfigError(
      'VARIANT_KEY and SIGNING_KEY have a key in common. Set VARIANT_KEY to another one: openssl rand -hex 32',
    )
  return variants
}

/** One URL for each server of a cluster. All have the scheme, user and password of the first. */
function queueUrls(value: string): URL[] {
  const [, scheme, credentials = '', servers = ''] = /^([a-z]+:\/\/)([^@]*@)?(.*)$/.exec(value)!
  return servers.split(',').map((server) => url('QUEUE_URL', `${scheme}${credentials}${server}`))
}

// A pattern can't check the range of a port or of a percent-encoding.
function url(name: keyof Environment, value: string) {
  try {
    const parsed = new URL(value)
    decodeURIComponent(parsed.username + parsed.password)
    return parsed
  } catch {
    throw new ConfigError(refusal(name, value))
  }
}

function metricsPort({ PORT, METRICS_PORT }: Environment) {
  if (METRICS_PORT !== undefined && METRICS_PORT === PORT)
    throw new ConfigError('METRICS_PORT and PORT are equal. Set METRICS_PORT to another port, such as 9464.')
  return METRICS_PORT
}

function accessTokenFile({ ACCESS_TOKEN, ACCESS_TOKEN_FILE }: Environment) {
  if (ACCESS_TOKEN_FILE === undefined) return undefined
  if (ACCESS_TOKEN !== undefined)
    throw new ConfigError('ACCESS_TOKEN and ACCESS_TOKEN_FILE are both set. Remove one of them.')
  return resolve(ACCESS_TOKEN_FILE)
}

/** The object stores of a region: `hot`, and `cold` for archived images. */
export interface Region {
  /** Empty for the region of `OBJECT_STORE_URL`. */
  name: string
  hot: URL
  cold: URL | undefined
}

/** The regions. The first one is for links that name no region. */
function regions(env: Environment, dataDir: string): Region[] {
  const { OBJECT_STORE_URL, COLD_STORE_URL, ARCHIVE_AFTER } = env
  const hot = namedUrls('OBJECT_STORE_URLS', env)
  const cold = namedUrls('COLD_STORE_URLS', env)
  if (OBJECT_STORE_URL !== undefined || hot.size === 0) {
    const files = pathToFileURL(resolve(dataDir, 'objects'))
    hot.set('', OBJECT_STORE_URL === undefined ? files : url('OBJECT_STORE_URL', OBJECT_STORE_URL))
    if (COLD_STORE_URL !== undefined) cold.set('', url('COLD_STORE_URL', COLD_STORE_URL))
  } else if (COLD_STORE_URL !== undefined) {
    throw new ConfigError(
      'COLD_STORE_URL is set without OBJECT_STORE_URL. Set COLD_STORE_URLS instead, with a URL for each region. ' +
        'For example: COLD_STORE_URLS=eu=s3://archive-eu',
    )
  }
  for (const name of cold.keys()) {
    if (!hot.has(name))
      throw new ConfigError(
        `COLD_STORE_URLS has the region ${name}, but OBJECT_STORE_URLS does not. Add it there or remove it here.`,
      )
  }
  if (ARCHIVE_AFTER !== undefined && cold.size === 0) {
    throw new ConfigError(
      'ARCHIVE_AFTER is set, but COLD_STORE_URL is not. Set the store for archived images. ' +
        'For example: COLD_STORE_URL=file:///mnt/archive/hasty',
    )
  }
  refuseOverlaps({ OBJECT_STORE_URL: hot, COLD_STORE_URL: cold })
  return [...hot]
    .sort(([a], [b]) => Number(b === '') - Number(a === ''))
    .map(([name, url]) => ({ name, hot: url, cold: cold.get(name) }))
}

function namedUrls(variable: 'OBJECT_STORE_URLS' | 'COLD_STORE_URLS', env: Environment) {
  const value = env[variable]
  const urls = new Map<string, URL>()
  for (const pair of value?.split(',') ?? []) {
    const [name, href] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]
    if (urls.has(name)) throw new ConfigError(refusal(variable, value))
    urls.set(name, url(variable, href))
  }
  return urls
}

/** Refuses stores that overlap: the sweep of one would delete the objects of the other. */
function refuseOverlaps(stores: Record<'OBJECT_STORE_URL' | 'COLD_STORE_URL', Map<string, URL>>) {
  const location = ({ protocol, host, pathname, searchParams }: URL) =>
    `${protocol} ${searchParams.get('endpoint')} ${host}${pathname.replace(/\/+$/, '')}/`
  const seen: string[] = []
  for (const [variable, urls] of Object.entries(stores)) {
    for (const [name, url] of urls) {
      const own = location(url)
      if (seen.some((other) => own.startsWith(other) || other.startsWith(own))) {
        const source = name === '' ? variable : `${variable}S`
        throw new ConfigError(
          `${source} has ${url.href}, which overlaps with another store. Give each store a separate path or prefix.`,
        )
      }
      seen.push(own)
    }
  }
}

type DurationName =
  | 'ARCHIVE_AFTER'
  | 'DELETE_AFTER'
  | 'SWEEP_GRACE'
  | 'TRASH_FOR'
  | 'CORRUPT_GRACE'
  | 'VERIFY_EVERY'
  | 'RESUME_WITHIN'
  | 'CLIENT_TIMEOUT'
  | 'STOP_DELAY'
  | 'CACHE_MAX_AGE'

const optionalMilliseconds = (name: 'ARCHIVE_AFTER' | 'DELETE_AFTER', env: Environment) =>
  env[name] === undefined ? undefined : milliseconds(name, env[name], { min: 1 })

const DAY_SECONDS = 86_400
// With more than 100 years, a time in the past may be earlier than the first one of a database.
const LONGEST_SECONDS = 36_500 * DAY_SECONDS

/** A duration in milliseconds, in which a month has 30 days and a year 365. */
function milliseconds(
  name: DurationName,
  duration: string,
  { min, max = LONGEST_SECONDS * 1000 }: { min: number; max?: number },
) {
  const { years = 0, months = 0, weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0 } = parse(duration)
  const wholeDays = years * 365 + months * 30 + weeks * 7 + days
  const total = wholeDays * DAY_SECONDS + hours * 3600 + minutes * 60 + seconds
  if (total * 1000 < min || total * 1000 > max) throw new ConfigError(refusal(name, duration))
  return Math.round(total * 1000)
}

const UNITS: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

function bytes(size: string) {
  const [, count, unit = 'B'] = /^(\d+) ?(\w+)?$/.exec(size) as unknown as [string, string, string?]
  return Number(count) * UNITS[unit]!
}
