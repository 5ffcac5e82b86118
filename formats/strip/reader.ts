import { setImmediate as nextTurn } from 'node:timers/promises'
import { CannotStrip } from './plan.ts'

// Few encoders write chunks of less than 4 KiB: a file of these has 128 MiB. It limits the time for a file that consists
// of headers.
const MAX_HEADERS = 32_768
// One chunk of the stream can have thousands of headers. After this many, other requests have their turn.
const HEADERS_PER_TURN = 64
// Anybody who has the id can make the API process read the file, which needs disk and CPU.
const MAX_BYTES = 2 ** 29

/** The stream has ended. Unless a planner can continue without the rest, there is no copy. */
export class EndOfFile extends CannotStrip {}

/**
 * Reads a stream from its front to its end, up to 512 MiB. It holds one chunk, and the bytes for `take`. Its methods reject
 * with CannotStrip above the limit.
 */
export interface Reader {
  /** The number of bytes that were read. */
  readonly position: number

  /** The next bytes, at least one, without reading them. */
  peek(): Promise<Buffer>

  /** Reads bytes that `peek` returned. */
  advance(count: number): void

  take(count: number): Promise<Buffer>

  /** Takes the header of a chunk or segment; rejects with CannotStrip if there were too many. */
  takeHeader(count: number): Promise<Buffer>

  skip(count: number): Promise<void>
}

/** All methods of the reader reject with EndOfFile if the stream ends too early. */
export function createReader(source: AsyncIterable<Buffer>): Reader {
  const chunks = source[Symbol.asyncIterator]()
  let chunk: Buffer = Buffer.alloc(0)
  let position = 0
  let headers = 0

  async function peek() {
    while (chunk.length === 0) {
      const { done, value } = await chunks.next()
      if (done) throw new EndOfFile('the image is cut off')
      chunk = value
    }
    return chunk
  }

  function advance(count: number) {
    if (position + count > MAX_BYTES) throw new CannotStrip('the image is too large')
    chunk = chunk.subarray(count)
    position += count
  }

  async function take(count: number) {
    const taken = Buffer.allocUnsafe(count)
    for (let filled = 0; filled < count; ) {
      const copied = (chunk.length > 0 ? chunk : await peek()).copy(taken, filled)
      advance(copied)
      filled += copied
    }
    return taken
  }

  return {
    get position() {
      return position
    },
    peek,
    advance,
    take,

    async takeHeader(count) {
      if (++headers > MAX_HEADERS) throw new CannotStrip('the image has too many chunks')
      if (headers % HEADERS_PER_TURN === 0) await nextTurn()
      return take(count)
    },

    async skip(count) {
      for (let left = count; left > 0; ) {
        const skipped = Math.min(left, (chunk.length > 0 ? chunk : await peek()).length)
        advance(skipped)
        left -= skipped
      }
    },
  }
}
