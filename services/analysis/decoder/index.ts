import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { constants, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Verdict } from '../../../stores/data/data-store.ts'
import type { Job } from './examine.ts'

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))

export interface Limits {
  /** Milliseconds that a file may take. */
  time: number
  /** Bytes that the process may hold. */
  memory: number
}

const LIMITS: Limits = { time: 60_000, memory: 2 ** 30 }

/** What the child says of a job. */
export interface Answer {
  verdict?: Verdict
  /** It could not tell: a fault of the file system, or of the program. */
  fault?: string
  /** It takes no further job, and ends. */
  last: boolean
}

/** The signal by which the child ends itself where it holds too much memory. */
export const OUT_OF_MEMORY = 'SIGXCPU'

/** A process that examines images, one at a time. Whatever a file does to it, the caller goes on. */
export interface Decoder {
  /**
   * Examines a file. Where it needs too much memory its verdict is `failed`.
   *
   * @throws {Error} it took too long, or the process died of it: then it can be tried again
   */
  examine(job: Job): Promise<Verdict>

  /** Ends the process; resolves when it has ended. */
  close(): Promise<void>
}

/** Makes a decoder. Its process is started with the first job, and again after one that it died of. */
export function createDecoder(limits = LIMITS): Decoder {
  let child: ChildProcess | undefined

  function start() {
    const started = fork(CHILD, [String(limits.memory)], {
      // Libraries write there what they think of a file; the log is not theirs.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
      // A terminal signals the whole group, and what is in hand is to be finished.
      detached: true,
    })
    started.on('error', () => {})
    // Who uploads or asks for an image goes first, from the moment that it starts.
    if (started.pid) setPriority(started.pid, constants.priority.PRIORITY_LOW)
    started.once('exit', () => {
      if (child === started) child = undefined
    })
    return started
  }

  return {
    examine(job) {
      child ??= start()
      const worker = child
      const { promise, resolve, reject } = Promise.withResolvers<Verdict>()
      let late = false
      const timer = setTimeout(() => {
        late = true
        worker.kill('SIGKILL')
      }, limits.time)
      const answered = ({ verdict, fault, last }: Answer) => {
        if (last) child = undefined
        if (verdict) resolve(verdict)
        else reject(new Error(fault))
      }
      const died = (code: number | null, signal: NodeJS.Signals | null) => {
        if (signal === OUT_OF_MEMORY)
          resolve({
            status: 'failed',
            failure: `it takes more than ${limits.memory / 2 ** 20} MiB to decode`,
          })
        else if (late) reject(new Error(`it takes more than ${limits.time / 1000} s to decode`))
        else reject(new Error(`the decoder died of it (${signal ?? code})`))
      }
      worker.once('message', answered)
      worker.once('exit', died)
      worker.send(job, (error) => error && worker.kill('SIGKILL'))
      return promise.finally(() => {
        clearTimeout(timer)
        worker.off('message', answered)
        worker.off('exit', died)
      })
    },

    async close() {
      const ended = child && once(child, 'exit')
      child?.disconnect()
      await ended
    },
  }
}
