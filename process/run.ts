import { setFlagsFromString } from 'node:v8'
import closeWithGrace from 'close-with-grace'
import type { Logger } from 'pino'
import { type Config, ConfigError, readConfig } from '../config.ts'
import { createLog } from './log.ts'

const GRACE_MS = 30_000

/**
 * Runs a process: reads its configuration, starts it, and at SIGTERM or SIGINT, or when the process that it is a child
 * of is gone, lets it finish what it has in hand, for `GRACE_MS` at most.
 *
 * @param start resolves when the process is up, with what stops it, or with nothing where it is done
 */
export async function run(
  name: string,
  start: (config: Config, log: Logger) => Promise<(() => Promise<void>) | undefined>,
): Promise<void> {
  // In one process of six V8 learns from its first seconds that what a request makes lives long, and from then on keeps
  // all of it until the next collection of everything: docs/performance.md.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // Before it is up there is nothing in hand.
  let closeOnce: () => void = () => process.exit()
  process.once('disconnect', () => closeOnce())
  const config = readConfigOrExit()
  const log = createLog(config, name)
  const stop = await start(config, log).catch((err) => {
    log.fatal({ err }, 'start failed')
    process.exit(1)
  })
  if (!stop) return

  const signals = ['SIGTERM', 'SIGINT'] as const
  const { close } = closeWithGrace({ delay: GRACE_MS, logger: log, skip: [...signals] }, async ({ err }) => {
    if (err) log.fatal({ err }, 'ended by an error')
    await stop()
  })
  // A terminal signals the whole group and npm passes that on to its child, so one signal may come twice.
  let closing = false
  closeOnce = () => {
    if (!closing) close()
    closing = true
  }
  for (const signal of signals) process.on(signal, closeOnce)
}

function readConfigOrExit() {
  try {
    return readConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  }
}
