import type { Format } from '../../formats/format.ts'
import type { Metadata } from '../../schemas/images.ts'
import { createCache } from '../cache.ts'
import { createDecoder, type Decoder, type FileContent } from './sandbox/decoder.ts'
import { detectSandbox } from './sandbox/levels.ts'

/** Processes for each API process. */
const PROCESSES = 2
/** For how many milliseconds a link counts as slow after a file that was not read in time. */
const SLOW_LINK_MS = 60_000
/** The most links that are remembered as slow. */
const MAX_SLOW_LINKS = 1_000
const MILLISECONDS = 1_000
const MEMORY_BYTES = 2 ** 28

/** Reads the metadata of uploads in sandboxed processes, so that the API process parses no complex format. */
export interface ImageReader {
  /** Starts one process, so that the first upload need not wait for it. Never rejects. */
  warmUp(): Promise<void>

  /**
   * The reader for the uploads of one link. All links that send slow files share one process, so that the other is free for
   * other links.
   */
  of(linkId: string): LinkReader

  /** Ends the processes. */
  close(): Promise<void>
}

export interface LinkReader {
  /**
   * Reads an image's metadata. Resolves with undefined if that cannot be done in time: the processes are busy, the file
   * is slow, or a process ended.
   *
   * @param open gives the bytes of the file, or of its front, when a process is free
   * @returns `not_an_image` if the file has no readable header
   */
  read(format: Format, open: () => Promise<FileContent>): Promise<Metadata | 'not_an_image' | undefined>
}

/** An upload that waits for a process. */
interface Waiting {
  linkId: string
  resolve: (decoder: Decoder | undefined) => void
}

/** The id that a process has while no upload needs it. */
const NO_LINK = ''

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
  const waiting: Waiting[] = []
  const all: Decoder[] = []
  /** The links of the files that are read now, one for each file. */
  const occupying: string[] = []
  /** The links that sent slow files. Together they have one process at most. */
  const slowLinks = createCache<true>({ capacity: MAX_SLOW_LINKS, ttl: SLOW_LINK_MS })

  const isSlow = (linkId: string) => slowLinks.get(linkId) === true
  const mustWait = (linkId: string) => isSlow(linkId) && occupying.some(isSlow)

  function add() {
    const added = createDecoder('read', { sandbox: detectSandbox(), memory: MEMORY_BYTES })
    all.push(added)
    return added
  }

  /** An idle process, or a new one, or the first that becomes idle in time. The caller gives it back. */
  async function take(linkId: string, deadline: number): Promise<Decoder | undefined> {
    const free = mustWait(linkId) ? undefined : (idle.pop() ?? (all.length < PROCESSES ? add() : undefined))
    if (free) {
      occupying.push(linkId)
      return free
    }
    const { promise, resolve } = Promise.withResolvers<Decoder | undefined>()
    const entry = { linkId, resolve }
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(entry), 1)
      resolve(undefined)
    }, deadline - performance.now())
    waiting.push(entry)
    return promise.finally(() => clearTimeout(timer))
  }

  const start = (decoder: Decoder) =>
    decoder.start().catch((error) => log.warn({ err: error }, 'an upload cannot be read before the response'))

  function giveBack(linkId: string, decoder: Decoder) {
    occupying.splice(occupying.indexOf(linkId), 1)
    const next = waiting.findIndex((entry) => !mustWait(entry.linkId))
    const [entry] = next === -1 ? [] : waiting.splice(next, 1)
    if (!entry) {
      idle.push(decoder)
      return
    }
    occupying.push(entry.linkId)
    entry.resolve(decoder)
  }

  async function read(linkId: string, format: Format, open: () => Promise<FileContent>) {
    const deadline = performance.now() + milliseconds
    const decoder = await take(linkId, deadline)
    if (!decoder) return undefined
    let isUsable = Promise.resolve()
    try {
      const left = deadline - performance.now()
      const verdict = await decoder.run(format, await open(), { milliseconds: left })
      if (verdict.status === 'rejected') return 'not_an_image'
      return verdict.status === 'ready' ? verdict.metadata : undefined
    } catch {
      slowLinks.set(linkId, true)
      // The process is started again now. The next upload must not wait for it, or end it because it is slow to start.
      isUsable = start(decoder)
      return undefined
    } finally {
      isUsable.then(() => giveBack(linkId, decoder))
    }
  }

  return {
    async warmUp() {
      const decoder = await take(NO_LINK, performance.now())
      if (!decoder) return
      await start(decoder)
      giveBack(NO_LINK, decoder)
    },

    of: (linkId) => ({ read: (format, open) => read(linkId, format, open) }),

    async close() {
      await Promise.all(all.map((decoder) => decoder.close()))
    },
  }
}
