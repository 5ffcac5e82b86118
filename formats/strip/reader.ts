import { CannotStrip } from './plan.ts'

// With 4 KiB in each, and few encoders put in less, it is a file of 512 MiB. It bounds the time that a file of nothing
// but headers takes.
const MOST_HEADERS = 131_072

/** Reads a stream from its front to its end. It holds one chunk, and what is asked of `take`. */
export interface Reader {
  /** How many bytes were read. */
  readonly position: number

  /** What is at hand, one byte at least, without reading it. */
  peek(): Promise<Buffer>

  /** Reads as many bytes of those that `peek` gave. */
  advance(count: number): void

  take(count: number): Promise<Buffer>

  /** Takes the header of a chunk or segment; rejects with CannotStrip where there were too many. */
  takeHeader(count: number): Promise<Buffer>

  skip(count: number): Promise<void>
}

/** All of the reader's methods reject with CannotStrip where the stream ends before they have what was asked. */
export function createReader(source: AsyncIterable<Buffer>): Reader {
  const chunks = source[Symbol.asyncIterator]()
  let chunk: Buffer = Buffer.alloc(0)
  let position = 0
  let headers = 0

  async function peek() {
    while (chunk.length === 0) {
      const { done, value } = await chunks.next()
      if (done) throw new CannotStrip('it is cut off')
      chunk = value
    }
    return chunk
  }

  function advance(count: number) {
    chunk = chunk.subarray(count)
    position += count
  }

  async function take(count: number) {
    const taken = Buffer.alloc(count)
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
      if (++headers > MOST_HEADERS) throw new CannotStrip('it is in too many chunks')
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
