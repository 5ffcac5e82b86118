import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fp from 'fastify-plugin'

const WORKER = fileURLToPath(new URL('../worker.ts', import.meta.url))
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
// A worker that ran so long was well: what ended it is a new fault.
const WELL_MS = 60_000

/** Keeps worker processes running beside the service, and ends them before the stores are closed. */
export default fp(
  async (app) => {
    const stop = new AbortController()
    const keepers: Promise<void>[] = []

    app.addHook('onReady', async () => {
      for (let n = 0; n < app.config.workerProcesses; n++) keepers.push(keep(stop.signal, app.log))
    })
    app.addHook('onClose', async () => {
      stop.abort()
      await Promise.all(keepers)
    })
  },
  { name: 'worker', dependencies: ['config', 'stores'] },
)

/** Starts a worker, and starts it again when it dies, after a pause that grows. */
async function keep(stop: AbortSignal, log: { warn(context: object, message: string): void }) {
  let pause = FIRST_PAUSE_MS
  while (!stop.aborted) {
    const startedAt = performance.now()
    const worker = fork(WORKER, { stdio: 'inherit' })
    await ended(worker, stop)
    if (stop.aborted) return
    if (performance.now() - startedAt > WELL_MS) pause = FIRST_PAUSE_MS
    log.warn({ exitCode: worker.exitCode, signal: worker.signalCode, pause }, 'worker died')
    await sleep(pause, undefined, { signal: stop }).catch(() => {})
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS)
  }
}

/** Resolves when the worker has ended; when `stop` is aborted, it is asked to end. */
async function ended(worker: ChildProcess, stop: AbortSignal) {
  const ask = () => worker.disconnect()
  stop.addEventListener('abort', ask)
  await Promise.race([once(worker, 'exit'), once(worker, 'error')]).catch(() => {})
  stop.removeEventListener('abort', ask)
}
