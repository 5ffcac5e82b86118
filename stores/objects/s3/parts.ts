import type { Readable } from 'node:stream'

/**
 * The bytes of each part of a multipart upload, except the last. S3 requires at least 5 MiB and at most 10,000 parts, R2
 * requires equal sizes. So an object has at most 78 GiB.
 */
export const PART_BYTES = 8 * 2 ** 20

const FIRST_BYTES = 64 * 1024

export interface Part {
  /** From 1. */
  number: number
  bytes: Buffer
  last: boolean
}

/**
 * Divides the bytes of `source` into parts. A part is one buffer, because it is sent again if sending it failed. The
 * chunks are copied, because small chunks use many times their bytes of memory. A part is read when `next` is called. The
 * caller passes the buffer of a part that was sent, to be used again without waiting for the garbage collector.
 *
 * There is always a last part, which may be empty. Throws the errors of `source`.
 */
export async function* inParts(source: Readable): AsyncGenerator<Part, void, Buffer | undefined> {
  let number = 1
  let bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  let length = 0
  for await (const chunk of source as AsyncIterable<Buffer>) {
    for (let taken = 0; taken < chunk.length; ) {
      if (length === PART_BYTES) {
        const spent = yield { number, bytes, last: false }
        number += 1
        bytes = spent ?? Buffer.allocUnsafeSlow(PART_BYTES)
        length = 0
      }
      const wanted = Math.min(length + chunk.length - taken, PART_BYTES)
      if (wanted > bytes.length) {
        const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(wanted, 2 * bytes.length), PART_BYTES))
        bytes.copy(grown, 0, 0, length)
        bytes = grown
      }
      taken += chunk.copy(bytes, length, taken, taken + wanted - length)
      length = wanted
    }
  }
  yield { number, bytes: bytes.subarray(0, length), last: true }
}
