import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const WORKER = fileURLToPath(new URL('../worker.ts', import.meta.url))
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
// A process that ran so long was well: what ended it is a new fault.
const WELL_MS = 60_000

interface Log {
  warn(context: object, message: string): void
}

/** A kind of child process. */
export interface Kind {
  name: string
  start(): ChildProcess
  /** Has it end as soon as it has done what it has in hand. */
  ask(child: ChildProcess): void
}

/** Child processes that are kept running. */
export interface Children {
  /** Ends them; resolves when all have ended. */
  end(): Promise<void>
}

/** Starts so many children of a kind, and one again when it dies, after a pause that grows. */
export function superviseChildren(kind: Kind, count: number, log: Log): Children {
  const stop = new AbortController()
  const keepers = Array.from({ length: count }, () => keep(kind, stop.signal, log))
  return {
    async end() {
      stop.abort()
      await Promise.all(keepers)
    },
  }
}

/** Keeps so many workers running. */
export const superviseWorkers = (count: number, log: Log) =>
  superviseChildren(
    {
      name: 'worker',
      start: () => fork(WORKER, { stdio: 'inherit' }),
      ask: (worker) => worker.disconnect(),
    },
    count,
    log,
  )

async function keep(kind: Kind, stop: AbortSignal, log: Log) {
  let pause = FIRST_PAUSE_MS
  while (!stop.aborted) {
    const startedAt = performance.now()
    const child = kind.start()
    await ended(child, kind, stop)
    if (stop.aborted) return
    if (performance.now() - startedAt > WELL_MS) pause = FIRST_PAUSE_MS
    log.warn({ exitCode: child.exitCode, signal: child.signalCode, pause }, `${kind.name} died`)
    await sleep(pause, undefined, { signal: stop }).catch(() => {})
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS)
  }
}

/** Resolves when the child has ended; when `stop` is aborted, it is asked to end. */
async function ended(child: ChildProcess, { ask }: Kind, stop: AbortSignal) {
  const askIt = () => ask(child)
  stop.addEventListener('abort', askIt)
  await Promise.race([once(child, 'exit'), once(child, 'error')]).catch(() => {})
  stop.removeEventListener('abort', askIt)
}
