import type { Format } from '../../formats/format.ts'
import type { Metadata } from '../../schemas/images.ts'
import { createDecoder, type Decoder, type FileContent } from './sandbox/decoder.ts'
import { detectSandbox } from './sandbox/levels.ts'

/** Processes for each API process. One that a slow file occupies leaves the other for other senders. */
const PROCESSES = 2
const MILLISECONDS = 1_000
const MEMORY_BYTES = 2 ** 28

/** Reads the metadata of uploads in sandboxed processes, so that the API process parses no complex format. */
export interface ImageReader {
  /** Starts one process, so that the first upload need not wait for it. Never rejects. */
  warmUp(): Promise<void>

  /**
   * Reads an image's metadata. Resolves with undefined if that cannot be done in time: the processes are busy, the file
   * is slow, or a process ended.
   *
   * @param open gives the bytes of the file, or of its front, when a process is free
   * @returns `not_an_image` if the file has no readable header
   */
  read(format: Format, open: () => Promise<FileContent>): Promise<Metadata | 'not_an_image' | undefined>

  /** Ends the processes. */
  close(): Promise<void>
}

interface Log {
  warn(context: object, message: string): void
}

/** @param milliseconds the longest time for a file, including waiting for a process */
export function createImageReader({
  log,
  milliseconds = MILLISECONDS,
}: {
  log: Log
  milliseconds?: number
}): ImageReader {
  const idle: Decoder[] = []
  const waiting: ((decoder: Decoder | undefined) => void)[] = []
  const all: Decoder[] = []

  /** An idle process, or a new one, or the first that becomes idle in time. */
  async function take(deadline: number): Promise<Decoder | undefined> {
    const free = idle.pop()
    if (free) return free
    if (all.length < PROCESSES) {
      const added = createDecoder('read', { sandbox: detectSandbox(), memory: MEMORY_BYTES })
      all.push(added)
      return added
    }
    const { promise, resolve } = Promise.withResolvers<Decoder | undefined>()
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(resolve), 1)
      resolve(undefined)
    }, deadline - performance.now())
    waiting.push(resolve)
    return promise.finally(() => clearTimeout(timer))
  }

  const start = (decoder: Decoder) =>
    decoder.start().catch((error) => log.warn({ err: error }, 'an upload cannot be read before the response'))

  function giveBack(decoder: Decoder) {
    const next = waiting.shift()
    if (next) next(decoder)
    else idle.push(decoder)
  }

  return {
    async warmUp() {
      const decoder = await take(performance.now())
      if (!decoder) return
      await start(decoder)
      giveBack(decoder)
    },

    async read(format, open) {
      const deadline = performance.now() + milliseconds
      const decoder = await take(deadline)
      if (!decoder) return undefined
      let isUsable = Promise.resolve()
      try {
        const left = deadline - performance.now()
        const verdict = await decoder.run(format, await open(), { milliseconds: left })
        if (verdict.status === 'rejected') return 'not_an_image'
        return verdict.status === 'ready' ? verdict.metadata : undefined
      } catch {
        // The process is started again now. The next upload must not wait for it, or end it because it is slow to start.
        isUsable = start(decoder)
        return undefined
      } finally {
        isUsable.then(() => giveBack(decoder))
      }
    },

    async close() {
      await Promise.all(all.map((decoder) => decoder.close()))
    },
  }
}
