import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import type { Options } from 'postgres'

// libpq's parameters that have no meaning for this driver. A server refuses a start with them.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
const IGNORED = [
  ...[
    'channel_binding',
    'gssencmode',
    'sslcompression',
    'sslsni',
    'sslcrl',
    'sslcrldir',
    'krbsrvname',
    'require_auth',
  ],
  ...[
    'keepalives',
    'keepalives_idle',
    'keepalives_interval',
    'keepalives_count',
    'tcp_user_timeout',
    'client_encoding',
  ],
]
const UNSUPPORTED = [
  'service',
  'servicefile',
  'passfile',
  'host',
  'hostaddr',
  'port',
  'replication',
  'requirepeer',
]

type ConnectionOptions = Pick<Options<Record<string, never>>, 'host' | 'port' | 'ssl'>

/** A DATABASE_URL that cannot be used. The message names the necessary change. */
export class InvalidDatabaseUrl extends Error {
  override name = 'InvalidDatabaseUrl'
}

/**
 * Reads the parts of a DATABASE_URL that the driver does not understand: IPv6 addresses, and libpq's parameters for TLS.
 *
 * @returns the URL without these parameters, and options for the driver
 * @throws {InvalidDatabaseUrl}
 */
export function readDatabaseUrl(databaseUrl: string): { url: string; options: ConnectionOptions } {
  const [base, query = ''] = databaseUrl.split('?', 2) as [string, string?]
  const parameters = new URLSearchParams(query)
  for (const name of UNSUPPORTED)
    if (parameters.has(name))
      throw new InvalidDatabaseUrl(
        `DATABASE_URL: the parameter ${name} is not supported. Write user, password, host and port before the question mark.`,
      )
  const options = { ...ipv6Host(base), ...tls(base, parameters) }
  for (const name of IGNORED) parameters.delete(name)
  const rest = parameters.toString()
  return { url: rest ? `${base}?${rest}` : base, options }
}

/** The driver splits hosts at colons, so an IPv6 address is given as an option. */
function ipv6Host(base: string): ConnectionOptions {
  const [, host, port = '5432'] = /^[^/]*\/\/(?:[^@/]*@)?\[([^\]]+)\](?::(\d+))?(?:\/|$)/.exec(base) ?? []
  return host ? { host: [host] as unknown as string, port: [Number(port)] as unknown as number } : {}
}

function tls(base: string, parameters: URLSearchParams): ConnectionOptions {
  const take = (name: string) => {
    const value = parameters.get(name) ?? undefined
    parameters.delete(name)
    return value
  }
  const root = take('sslrootcert')
  const [certificate, key] = [take('sslcert'), take('sslkey')]
  const files = {
    ...(root && root !== 'system' && { ca: read('sslrootcert', root) }),
    ...(certificate && { cert: read('sslcert', certificate) }),
    ...(key && { key: read('sslkey', key) }),
  }
  const mode = parameters.get('sslmode') ?? (root === 'system' ? 'verify-full' : undefined)
  // The driver reads the remaining modes itself.
  if (mode !== 'verify-full' && mode !== 'verify-ca' && Object.keys(files).length === 0) return {}

  parameters.delete('sslmode')
  if (mode === 'disable') return { ssl: false }
  if (mode === 'verify-full') return { ssl: { ...files, checkServerIdentity: identityOf(base) } }
  // Like in libpq, `require` checks the certificate if there is a root certificate, but not the name in it.
  if (mode === 'verify-ca' || (mode === 'require' && 'ca' in files))
    return { ssl: { ...files, checkServerIdentity: () => undefined } }
  return { ssl: { ...files, rejectUnauthorized: false } }
}

/** Checks a certificate for the host of the URL. For an IP address, the driver would check it for the name `localhost`. */
function identityOf(base: string): typeof checkServerIdentity {
  const host = /^[^/]*\/\/(?:[^@/]*@)?\[?([0-9a-fA-F.:]+?)\]?(?::\d+)?(?:\/|$)/.exec(base)?.[1]
  return (name, certificate) => checkServerIdentity(host && isIP(host) ? host : name, certificate)
}

function read(name: string, path: string) {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new InvalidDatabaseUrl(
      `DATABASE_URL: the file of ${name} (${path}) cannot be read. Give the path of a PEM file that this user may read.`,
      { cause },
    )
  }
}
