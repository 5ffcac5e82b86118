import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'
import type { DestinationStream } from 'pino'
import type { Config } from '../config.ts'
import pkg from '../package.json' with { type: 'json' }

/** Whether a person probably reads the output. */
export const isTerminal = () => process.stdout.isTTY === true

/**
 * Opens a log that a person can read, if standard output is a terminal. pino-pretty is a development dependency, so
 * without it the log stays JSON.
 */
export async function openTerminalLog(): Promise<DestinationStream | undefined> {
  if (!isTerminal()) return undefined
  const pretty = await import('pino-pretty').catch(() => undefined)
  return pretty?.default({
    colorize: process.stdout.hasColors(),
    ignore: 'pid,hostname,name,requestId,ip,method,route,statusCode,ms',
    translateTime: 'SYS:HH:MM:ss',
    messageFormat: formatMessage,
    singleLine: true,
    sync: true, // a process that ends at once has written its last line
  })
}

/** Shows a request as `GET /images/:id 200 3 ms`, and any other line by its message. */
function formatMessage(line: Record<string, unknown>, messageKey: string): string {
  const { method, route = '(unknown path)', statusCode, ms } = line
  return statusCode === undefined ? String(line[messageKey]) : `${method} ${route} ${statusCode} ${ms} ms`
}

/** Prints that the start has begun: the first one takes some seconds, because it creates the database. */
export function printStarting(): void {
  process.stdout.write(`\n  Hasty ${pkg.version} is starting …\n`)
}

/** Prints a summary of the start for a person: the URL, a first command, the token, the data, and how to stop. */
export function printStart(config: Config, port: number): void {
  process.stdout.write(describeStart(config, port))
}

function describeStart(config: Config, port: number) {
  const style = (format: Parameters<typeof styleText>[0], text: string) =>
    styleText(format, text, { stream: process.stdout })
  const url = config.publicUrl || `http://${hostInUrl(config.host)}:${port}`
  const line = (label: string, text: string) => `  ${style('dim', label.padEnd(8))} ${text}\n`
  return (
    `\n  ${style(['bold', 'green'], `Hasty ${pkg.version}`)} is ready.\n\n` +
    line('URL', style('cyan', url)) +
    line('Docs', style('cyan', `${url}/docs`)) +
    line('Token', describeToken(config)) +
    line('Database', describeDatabase(config)) +
    line('Images', describeObjects(config)) +
    line('Stop', `${style('bold', 'Ctrl+C')}\n`) +
    '  Create a link that accepts images for one hour:\n\n' +
    `  ${style('bold', `curl -H "X-Access-Token: ${tokenInShell(config)}" --json '{"sinceNow":"PT1H"}' ${url}/admin/ephemeral-links`)}\n\n`
  )
}

/** A host that a browser on this machine can open. */
const hostInUrl = (host: string) => {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

const shortPath = (path: string) => {
  const short = relative('', path)
  return short === '' || short.startsWith('..') ? path : short
}

const tokenFile = ({ accessTokenFile, dataDir }: Config) =>
  shortPath(accessTokenFile ?? `${dataDir}/access-token`)

const describeToken = (config: Config) =>
  config.accessTokens.length > 0 ? 'set by ACCESS_TOKEN' : `in the file ${tokenFile(config)}`

const tokenInShell = (config: Config) =>
  config.accessTokens.length > 0 ? '$ACCESS_TOKEN' : `$(cat ${tokenFile(config)})`

const describeDatabase = ({ databaseUrl, dataDir }: Config) =>
  databaseUrl === undefined
    ? `embedded, in ${shortPath(`${dataDir}/db`)}`
    : databaseUrl.replace(/\/\/.*@/, '//').replace(/\?.*/s, '')

const describeObjects = ({ regions }: Config) =>
  regions
    .map(({ hot }) =>
      hot.protocol === 'file:'
        ? shortPath(fileURLToPath(hot))
        : `${hot.protocol}//${hot.host}${hot.pathname}`,
    )
    .join(', ')
