import { availableParallelism, totalmem } from 'node:os'
import { createDecoder, type Decoder } from '../analysis/sandbox/decoder.ts'
import { detectSandbox } from '../analysis/sandbox/levels.ts'
import { Busy } from '../errors.ts'

const GiB = 2 ** 30
/** Variants that wait for a process. More requests are refused. */
const MOST_WAITING = 32
const LONGEST_WAIT_MS = 5_000
/** A process that had nothing to do for this time is ended, to free its memory. */
const IDLE_MS = 60_000

/** The sandboxed processes of one API process that make variants. */
export interface Renderers {
  /** Runs `work` with a process that does nothing else. @throws {Busy} none is free in time */
  run<T>(work: (decoder: Pick<Decoder, 'render'>) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** One process for each core, divided among the API processes. All together may use a quarter of the memory or more. */
export function rendererLimits(
  apiProcesses: number,
  memory = Math.min(process.constrainedMemory() || totalmem(), totalmem()),
  cores = availableParallelism(),
) {
  const concurrency = Math.max(1, Math.floor(cores / apiProcesses))
  const each = memory / 2 / (concurrency * apiProcesses)
  return { concurrency, memory: Math.floor(Math.max(GiB / 2, Math.min(each, 2 * GiB))) }
}

/** @param create makes a decoder, for tests */
export function createRenderers({
  concurrency,
  memory,
  create = () => createDecoder('render', { sandbox: detectSandbox(), memory }),
  longestWait = LONGEST_WAIT_MS,
}: {
  concurrency: number
  memory: number
  create?: () => Decoder
  longestWait?: number
}): Renderers {
  const all: Decoder[] = []
  const idle: Decoder[] = []
  const waiting: ((decoder: Decoder) => void)[] = []
  let ending: NodeJS.Timeout | undefined

  async function take(): Promise<Decoder> {
    clearTimeout(ending)
    const free = idle.pop()
    if (free) return free
    if (all.length < concurrency) {
      const added = create()
      all.push(added)
      return added
    }
    if (waiting.length >= MOST_WAITING) throw new Busy()
    const { promise, resolve, reject } = Promise.withResolvers<Decoder>()
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(resolve), 1)
      reject(new Busy())
    }, longestWait)
    waiting.push(resolve)
    return promise.finally(() => clearTimeout(timer))
  }

  const closeAll = () => Promise.all(all.map((decoder) => decoder.close()))

  function giveBack(decoder: Decoder) {
    const next = waiting.shift()
    if (next) return next(decoder)
    idle.push(decoder)
    // A decoder starts a new process for its next file.
    if (idle.length === all.length) ending = setTimeout(closeAll, IDLE_MS).unref()
  }

  return {
    async run(work) {
      const decoder = await take()
      try {
        return await work(decoder)
      } finally {
        giveBack(decoder)
      }
    },
    async close() {
      clearTimeout(ending)
      await closeAll()
    },
  }
}
