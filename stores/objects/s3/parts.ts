import type { Readable } from 'node:stream'

/**
 * The bytes of each part of a multipart upload but the last. S3 wants at least 5 MiB and at most 10,000 parts, and R2
 * all of one size: so an object has at most 78 GiB.
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
 * Cuts what `source` yields into parts, each in one piece: a part is sent again when sending it has failed. The chunks
 * are copied and not kept, because small ones cost many times their bytes. The next part is read when it is asked for;
 * who asks hands back the bytes of one that was sent, to be used again: memory does not wait for the collector then.
 *
 * Ends with a last part always, which may be empty. Throws what `source` does.
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
