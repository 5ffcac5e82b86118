import { type Config, ConfigError, readConfig } from '../config.ts'
import { protectDataDir } from '../process/data-dir.ts'
import { recordLocalAction } from '../process/local-action.ts'
import { openStores, type Stores } from '../stores/index.ts'
import { CommandError, clean, EXIT, note } from './output.ts'

/** The log of a local command: warnings and errors, as lines for a person. */
export const log = {
  info() {},
  warn: (context: object, message: string) => note(toLine(message, context)),
  error: (context: object, message: string) => note(toLine(message, context)),
}

function toLine(message: string, { err, ...context }: { err?: Error }) {
  const details = Object.entries(context).map(([name, value]) => `${name}=${String(value)}`)
  return clean([message, err?.message, ...details].filter(Boolean).join(', '))
}

export interface Local {
  config: Config
  stores: Stores
  /** Aborted by Ctrl+C and SIGTERM. */
  signal: AbortSignal
}

/** The entry of a command in the audit log. Without an action, nothing is recorded. */
interface Audited {
  action?: string
  query?: object
}

/** Does work with the stores of the configuration, beside a service that runs or without one. */
export async function withStores<Result>(
  work: (local: Local) => Promise<Result>,
  { action, query, ...options }: Audited & Partial<Parameters<typeof openStores>[1]> = {},
): Promise<Result> {
  const config = await readLocalConfig()
  const stores = await openStores(config, { attach: true, ...options })
  const stop = new AbortController()
  const abort = () => stop.abort(new CommandError('The command was interrupted.'))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, abort)
  let status = 500
  try {
    const result = await work({ config, stores, signal: stop.signal })
    status = 200
    return result
  } finally {
    if (action) await recordLocalAction(stores.data, { action, query, status }, log)
    await stores.close()
  }
}

/** Records a command that needs no stores. */
export const recordLocally = (action: string) =>
  withStores(async () => {}, { action }).catch((err) =>
    log.error({ err }, 'the audit log could not be written'),
  )

/** @throws {CommandError} with the reason of a wrong value */
export async function readLocalConfig(): Promise<Config> {
  try {
    const config = readConfig()
    await protectDataDir(config.dataDir)
    return config
  } catch (error) {
    throw error instanceof ConfigError ? new CommandError(error.message, EXIT.usage) : error
  }
}
