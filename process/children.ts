import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { BaseLogger } from 'pino'
import { environmentWithout } from '../config.ts'
import type { Collector } from './metrics/processes.ts'

const WORKER = fileURLToPath(new URL('../worker.ts', import.meta.url))
const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 30_000
// The end of a process that ran for this long is a new fault: the delay starts again with the first one.
const STABLE_AFTER_MS = 60_000

type Log = Pick<BaseLogger, 'warn'>

/** A program to run as a child process. */
export interface Program {
  /** Its name in the log. */
  name: string
  start(): ChildProcess
  /** Asks the child to finish its current work and to end. */
  requestExit(child: ChildProcess): void
}

/** Child processes that are restarted when they end. */
export interface Supervisor {
  /** Asks the children to end. Resolves when all of them have ended. */
  stop(): Promise<void>
}

/**
 * Starts `count` children and restarts each one that ends, after a delay that doubles from 0.5 s to 30 s.
 * A child that ran for a minute starts again with the first delay.
 */
export function superviseChildren(program: Program, count: number, log: Log): Supervisor {
  const stopping = new AbortController()
  const loops = Array.from({ length: count }, () => keepRunning(program, stopping.signal, log))
  return {
    async stop() {
      stopping.abort()
      await Promise.all(loops)
    },
  }
}

/** Starts `count` workers (`worker.ts`), restarts each one that ends, and collects their metrics. */
export const superviseWorkers = (count: number, log: Log, metrics: Collector) =>
  superviseChildren(
    {
      name: 'worker',
      start() {
        // It serves no request, so it needs no access token. Its metrics are among those of this process.
        const env = environmentWithout(
          'ACCESS_TOKEN',
          'ACCESS_TOKEN_FILE',
          'SIGNING_KEY',
          'VARIANT_KEY',
          'METRICS_PORT',
        )
        const worker = fork(WORKER, { stdio: 'inherit', serialization: 'advanced', env })
        metrics.add(worker)
        return worker
      },
      requestExit: (worker) => worker.disconnect(),
    },
    count,
    log,
  )

async function keepRunning(program: Program, stopping: AbortSignal, log: Log) {
  let delay = FIRST_DELAY_MS
  while (!stopping.aborted) {
    const startedAt = performance.now()
    const child = program.start()
    await untilEnded(child, program, stopping)
    if (stopping.aborted) return
    if (performance.now() - startedAt > STABLE_AFTER_MS) delay = FIRST_DELAY_MS
    log.warn(
      { exitCode: child.exitCode, signal: child.signalCode, delayMs: delay },
      `${program.name} ended unexpectedly and will be restarted`,
    )
    await sleep(delay, undefined, { signal: stopping }).catch(() => {})
    delay = Math.min(delay * 2, LONGEST_DELAY_MS)
  }
}

/** Resolves when the child has ended. When `stopping` is aborted, the child is asked to end. */
async function untilEnded(child: ChildProcess, { requestExit }: Program, stopping: AbortSignal) {
  const onStop = () => requestExit(child)
  stopping.addEventListener('abort', onStop)
  await Promise.race([once(child, 'exit'), once(child, 'error')]).catch(() => {})
  stopping.removeEventListener('abort', onStop)
}
