import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { envSchema } from 'env-schema'
import { parse } from 'iso8601-duration'
import { Environment } from './schemas/environment.ts'

/** What a process is told at its start, checked and in the units that the code works with. */
export type Config = ReturnType<typeof readConfig>

/** A variable has a value that can't be used. The message names each, says what is wrong and shows an example. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/**
 * Reads the configuration from an environment. An empty variable counts as not set.
 *
 * @throws {ConfigError}
 */
export function readConfig(environment: NodeJS.ProcessEnv) {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const env = check(given)
  const dataDir = resolve(env.DATA_DIR)
  const objectStoreUrl = new URL(env.OBJECT_STORE_URL ?? pathToFileURL(resolve(dataDir, 'objects')))
  return {
    host: env.HOST,
    port: env.PORT,
    accessTokens: env.ACCESS_TOKEN?.split(',') ?? [],
    dataDir,
    databaseUrl: env.DATABASE_URL,
    objectStoreUrl,
    coldStoreUrl: coldStore(env, objectStoreUrl),
    /** The broker between uploads and workers; without it workers ask the database. */
    queueUrl: env.QUEUE_URL === undefined ? undefined : url('QUEUE_URL', env.QUEUE_URL),
    /** Bytes. */
    inlineLimit: bytes(env.INLINE_LIMIT),
    /** Bytes. */
    maxFileSize: bytes(env.MAX_FILE_SIZE),
    maxFiles: env.MAX_FILES,
    /** When images go, in milliseconds since somebody last asked for them; undefined: never. */
    archiveAfter: optionalMilliseconds('ARCHIVE_AFTER', env),
    deleteAfter: optionalMilliseconds('DELETE_AFTER', env),
    /** Milliseconds. */
    sweepGrace: milliseconds('SWEEP_GRACE', env.SWEEP_GRACE, { least: 1_000 }),
    /** Milliseconds. */
    corruptGrace: milliseconds('CORRUPT_GRACE', env.CORRUPT_GRACE, { least: 0 }),
    /** The media types that are taken in; undefined for all that are known. */
    accept: env.ACCEPT === undefined ? undefined : new Set(env.ACCEPT.split(/ *, */)),
    /** What of their metadata images are served with. */
    publicMetadata: env.PUBLIC_METADATA,
    workerProcesses: env.WORKER_PROCESSES,
    /** Without a slash at its end; empty where it is not known. */
    publicUrl: env.PUBLIC_URL?.replace(/\/+$/, '') ?? '',
    trustProxy: env.TRUST_PROXY === 'true' || (env.TRUST_PROXY !== 'false' && env.TRUST_PROXY),
    logLevel: env.LOG_LEVEL,
  }
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

// These may hold a password.
const SECRET = new Set<keyof Environment>(['ACCESS_TOKEN', 'DATABASE_URL', 'QUEUE_URL'])

function refusal(name: keyof Environment, value: unknown) {
  const { description, examples } = Environment.properties[name] as unknown as {
    description: string
    examples: unknown[]
  }
  const shown = SECRET.has(name) ? '(not shown)' : JSON.stringify(value)
  return `${name} is ${shown}, but must be ${description}. For example: ${name}=${examples[0]}`
}

// A pattern can't tell a port or a percent-encoding that is out of bounds.
function url(name: keyof Environment, value: string) {
  try {
    const parsed = new URL(value)
    decodeURIComponent(parsed.username + parsed.password)
    return parsed
  } catch {
    throw new ConfigError(refusal(name, value))
  }
}

/**
 * The cold store's URL. Never the object store's own place, or one within the other: what is archived would be deleted.
 */
function coldStore({ COLD_STORE_URL, ARCHIVE_AFTER }: Environment, objects: URL) {
  if (COLD_STORE_URL === undefined) {
    if (ARCHIVE_AFTER === undefined) return undefined
    throw new ConfigError(
      'ARCHIVE_AFTER is set, but COLD_STORE_URL is not: say where archived images are kept. ' +
        'For example: COLD_STORE_URL=file:///mnt/archive/hasty',
    )
  }
  const cold = url('COLD_STORE_URL', COLD_STORE_URL)
  const place = ({ protocol, host, pathname, searchParams }: URL) =>
    `${protocol} ${searchParams.get('endpoint')} ${host}${pathname.replace(/\/+$/, '')}/`
  const [a, b] = [place(objects), place(cold)]
  if (a.startsWith(b) || b.startsWith(a)) throw new ConfigError(refusal('COLD_STORE_URL', COLD_STORE_URL))
  return cold
}

type DurationName = 'ARCHIVE_AFTER' | 'DELETE_AFTER' | 'SWEEP_GRACE' | 'CORRUPT_GRACE'

const optionalMilliseconds = (name: 'ARCHIVE_AFTER' | 'DELETE_AFTER', env: Environment) =>
  env[name] === undefined ? undefined : milliseconds(name, env[name], { least: 1 })

const DAY_SECONDS = 86_400
// Past 100 years a time before now may be one that no database has.
const LONGEST_SECONDS = 36_500 * DAY_SECONDS

/** A duration in milliseconds, in which a month has 30 days and a year 365. */
function milliseconds(name: DurationName, duration: string, { least }: { least: number }) {
  const { years = 0, months = 0, weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0 } = parse(duration)
  const wholeDays = years * 365 + months * 30 + weeks * 7 + days
  const total = wholeDays * DAY_SECONDS + hours * 3600 + minutes * 60 + seconds
  if (total * 1000 < least || total > LONGEST_SECONDS) throw new ConfigError(refusal(name, duration))
  return Math.round(total * 1000)
}

const UNITS: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

function bytes(size: string) {
  const [, count, unit = 'B'] = /^(\d+) ?(\w+)?$/.exec(size) as unknown as [string, string, string?]
  return Number(count) * UNITS[unit]!
}
