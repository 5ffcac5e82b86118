import { setFlagsFromString } from 'node:v8'
import closeWithGrace from 'close-with-grace'
import type { Logger } from 'pino'
import { type Config, describeSettings, readConfig } from '../config.ts'
import pkg from '../package.json' with { type: 'json' }
import { protectDataDir } from './data-dir.ts'
import { createLog } from './log.ts'
import { isTerminal, openTerminalLog } from './terminal.ts'

const SHUTDOWN_TIMEOUT_MS = 30_000

/** Stops a process: it takes no new work and finishes its current work. `signal` is the signal that it got, if any. */
export type Stop = (signal?: NodeJS.Signals) => Promise<void>

/**
 * Runs a process. It reads the configuration and starts. On SIGTERM or SIGINT, or when its parent process has ended, it
 * stops, within 30 s.
 *
 * @param start resolves when the process is ready, with its stop function, or with undefined if its work is done
 */
export async function run(
  name: string,
  start: (config: Config, log: Logger) => Promise<Stop | undefined>,
): Promise<void> {
  // Without this flag, V8 decides in some processes that objects of requests live long, and moves them to the old part
  // of the heap, where they stay until the next full collection (docs/performance.md).
  setFlagsFromString('--no-allocation-site-pretenuring')
  // A process that has not started yet has no work to finish.
  let stopOnce: (signal?: NodeJS.Signals) => void = () => process.exit()
  process.once('disconnect', () => stopOnce())
  const config = await prepare().catch((error) => exitWith(error, createLog({ logLevel: 'info' }, name)))
  const log = createLog(config, name, await openTerminalLog())
  // In a terminal, the summary of the start replaces this line.
  if (!isTerminal())
    log.info({ version: pkg.version, node: process.version, settings: describeSettings() }, 'starting')
  const stop = await start(config, log).catch((error) => exitWith(error, log))
  if (!stop) return

  const signals = ['SIGTERM', 'SIGINT'] as const
  let received: NodeJS.Signals | undefined
  const { close } = closeWithGrace(
    { delay: SHUTDOWN_TIMEOUT_MS, logger: log, skip: [...signals] },
    async ({ err }) => {
      if (err) log.fatal({ err }, 'stopping because of an unexpected error')
      await stop(received)
      log.info('stopped')
    },
  )
  // A terminal signals the whole process group, and npm passes the signal on, so one signal may arrive twice.
  let isStopping = false
  stopOnce = (signal) => {
    received ??= signal
    if (!isStopping) {
      log.info({ signal }, 'stopping')
      close()
    }
    isStopping = true
  }
  for (const signal of signals) process.on(signal, stopOnce)
}

async function prepare() {
  const config = readConfig()
  await protectDataDir(config.dataDir)
  return config
}

/** Ends the process after a failed start. A terminal gets one sentence, a log gets one line with all details. */
function exitWith(error: unknown, log: Logger): never {
  if (isTerminal()) process.stderr.write(`The start failed. ${reasonOf(error)}\n`)
  else log.fatal({ err: error }, 'start failed')
  process.exit(1)
}

/** Why a start failed, and what to do: the messages of an error and of its causes. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number }
  if (code === 'EADDRINUSE')
    return `PORT ${port} of ${address} is in use by another program. Stop that program, or set another PORT.`
  if (code === 'EADDRNOTAVAIL') return `HOST ${address} is not an address of this machine. Set another HOST.`
  return error.cause instanceof Error ? `${error.message}: ${reasonOf(error.cause)}` : error.message
}
