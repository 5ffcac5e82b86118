import cluster from 'node:cluster'
import { Worker } from 'node:worker_threads'
import type { BaseLogger } from 'pino'

// A blocked event loop answers no request and handles no SIGTERM. So after `BLOCKED_MS` the process is ended with
// SIGKILL. Its supervisor starts it again: the primary process of a cluster, `npm start`, or the runtime of a container.

const BLOCKED_MS = 30_000
const BEAT_MS = 1_000
const PING_MS = 5_000
const PING = { type: 'hasty:ping' }
const PONG = { type: 'hasty:pong' }

/**
 * Ends this process if its event loop is blocked for `blockedMs`. A thread watches it. Time in which the whole process
 * is stopped does not count.
 *
 * @param name of the process, for the line in the log
 */
export function watchOwnEventLoop(name: string, { blockedMs = BLOCKED_MS, beatMs = BEAT_MS } = {}): void {
  const beats = new Int32Array(new SharedArrayBuffer(4))
  setInterval(() => Atomics.add(beats, 0, 1), beatMs).unref()
  const thread = new Worker(new URL('./watchdog-thread.mjs', import.meta.url), {
    workerData: { name, beats, beatMs, blockedMs },
  })
  thread.unref()
}

/** In the primary process of a cluster: ends each API process that answers no ping for `blockedMs`. */
export function watchApiProcesses(
  log: Pick<BaseLogger, 'error'>,
  { blockedMs = BLOCKED_MS, pingMs = PING_MS } = {},
): void {
  // The pings that a process has not answered. It is watched from its first answer on.
  const unanswered = new Map<number, number>()
  cluster.on('message', ({ id }, { type }: { type?: unknown }) => {
    if (type === PONG.type) unanswered.set(id, 0)
  })
  cluster.on('exit', ({ id }) => unanswered.delete(id))
  const ping = () => {
    for (const { id, process } of Object.values(cluster.workers ?? {}).filter(
      (worker) => worker !== undefined,
    )) {
      const count = unanswered.get(id) ?? -1
      if (count * pingMs >= blockedMs) {
        log.error({ pid: process.pid, blockedMs }, 'an API process does not answer and is ended')
        unanswered.delete(id)
        process.kill('SIGKILL')
      } else if (process.connected) {
        if (count >= 0) unanswered.set(id, count + 1)
        process.send(PING)
      }
    }
  }
  setInterval(ping, pingMs).unref()
}

/** In an API process of a cluster: answers the pings of the primary process. */
export function answerPings(): void {
  process.on('message', ({ type }: { type?: unknown }) => {
    if (type === PING.type && process.connected) process.send!(PONG)
  })
}
