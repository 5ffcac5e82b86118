import type { Readable } from 'node:stream'
import { PART_BYTES, type UploadMemory } from './memory.ts'
import { openSpool, type Spool } from './spool.ts'

/** How many parts are sent at the same time. An upload keeps this many parts in memory. */
export const PARTS_AT_ONCE = 3

const FIRST_BYTES = 64 * 1024

export interface Part {
  /** From 1. */
  number: number
  bytes: Buffer
  last: boolean
}

export type Parts = AsyncGenerator<Part, void, Buffer | undefined>

/**
 * Divides the bytes of `source` into parts. A part is one buffer, because it is sent again if sending it failed. The
 * chunks are copied, because small chunks use many times their bytes of memory. A part is read when `next` is called. The
 * caller passes the buffer of a part that was sent, to be used again without waiting for the garbage collector.
 *
 * If the memory budget is used up, the rest of `source` is written to a temporary file, and divided into parts after
 * `source` has ended. So a slow client keeps a file, and no memory that others wait for.
 *
 * There is always a last part, which may be empty. Throws the errors of `source`.
 */
export async function* inParts(source: Readable, memory: UploadMemory): Parts {
  let number = 1
  let bytes: Buffer = Buffer.alloc(0)
  let length = 0
  let spool: Spool | undefined
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      let taken = 0
      while (taken < chunk.length && !spool) {
        if (length === PART_BYTES) {
          const spent = yield { number, bytes, last: false }
          number += 1
          bytes = spent ?? Buffer.alloc(0)
          length = 0
        }
        const wanted = Math.min(length + chunk.length - taken, PART_BYTES)
        const grown = wanted <= bytes.length ? bytes : grow(bytes, length, { number, wanted, memory })
        if (grown) {
          bytes = grown
          taken += chunk.copy(bytes, length, taken, taken + wanted - length)
          length = wanted
        } else {
          spool = await openSpool()
          await spool.write(bytes.subarray(0, length))
          memory.release(bytes.length)
        }
      }
      await spool?.write(chunk.subarray(taken))
    }
    if (spool) yield* spooledParts(spool, number, memory)
    else yield { number, bytes: bytes.subarray(0, length), last: true }
  } finally {
    await spool?.close()
  }
}

/** A longer buffer with the same bytes; undefined if the memory budget is used up. */
function grow(
  bytes: Buffer,
  length: number,
  { number, wanted, memory }: { number: number; wanted: number; memory: UploadMemory },
) {
  const size = number > 1 ? PART_BYTES : Math.min(Math.max(wanted, 2 * bytes.length, FIRST_BYTES), PART_BYTES)
  if (!memory.tryReserve(size - bytes.length)) return undefined
  const grown = allocate(size, memory)
  bytes.copy(grown, 0, 0, length)
  // Only this function has seen the shorter buffer. Its memory is freed now, and not by the garbage collector.
  if (length > 0) (bytes.buffer as ArrayBuffer).transfer(0)
  return grown
}

const allocate = (size: number, memory: UploadMemory) =>
  size === PART_BYTES ? memory.takePart() : Buffer.allocUnsafeSlow(size)

/** The parts of a temporary file, from number `first` on. */
async function* spooledParts(spool: Spool, first: number, memory: UploadMemory): Parts {
  await memory.reserveForSending(Math.min(spool.size, PARTS_AT_ONCE * PART_BYTES))
  let spent: Buffer | undefined
  for (let position = 0, number = first; ; number++) {
    const size = Math.min(spool.size - position, PART_BYTES)
    const bytes = (spent ?? allocate(size, memory)).subarray(0, size)
    await spool.read(bytes, position)
    position += size
    const last = position === spool.size
    spent = yield { number, bytes, last }
    if (last) return
  }
}
