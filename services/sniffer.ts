import { Rejection } from './errors.ts'
import { type Format, HEAD_BYTES, sniff } from './formats.ts'
import { NotAnImage, readMetadata } from './metadata.ts'

/** What stands beside a stream and learns what passes by. */
export interface Sniffer {
  /**
   * Takes the next bytes. As soon as there are enough to tell, it tells whether they are those of an image.
   *
   * @throws {Rejection} not_an_image
   */
  take(chunk: Buffer): Promise<void> | undefined

  /**
   * After the last byte: all that the image tells of itself, or only its format where it has more bytes than are kept.
   *
   * @throws {Rejection} not_an_image
   */
  end(): Promise<Sniffed>
}

export type Sniffed =
  | { status: 'ready'; metadata: Awaited<ReturnType<typeof readMetadata>> }
  | { status: 'pending'; metadata: Format }

/** @param inlineLimit how many bytes are kept at most; of a larger file only the head is looked at */
export function createSniffer(inlineLimit: number): Sniffer {
  const limit = Math.max(inlineLimit, HEAD_BYTES)
  // One buffer and not the chunks: a sender decides how small these are, and each takes far more room than its bytes.
  let kept = Buffer.alloc(0)
  let keptBytes = 0
  let passedBytes = 0
  let format: Format | undefined

  async function learnFormat() {
    // Always of the same bytes, however they were cut into chunks.
    format = await sniff(kept.subarray(0, Math.min(keptBytes, HEAD_BYTES)))
    if (!format) throw new Rejection('not_an_image')
  }

  return {
    take(chunk) {
      passedBytes += chunk.length
      if (format) {
        // Once it is known, nothing of a file over the limit is needed any more.
        if (passedBytes > inlineLimit) kept = Buffer.alloc(0)
        else keep(chunk)
        return undefined
      }
      keep(chunk)
      return keptBytes >= HEAD_BYTES ? learnFormat() : undefined
    },

    async end() {
      if (!format) await learnFormat()
      if (passedBytes > inlineLimit) return { status: 'pending', metadata: format! }
      try {
        return { status: 'ready', metadata: await readMetadata(kept.subarray(0, keptBytes), format!) }
      } catch (error) {
        throw error instanceof NotAnImage ? new Rejection('not_an_image') : error
      }
    },
  }

  function keep(chunk: Buffer) {
    const total = Math.min(keptBytes + chunk.length, limit)
    if (total > kept.length) {
      const larger = Buffer.allocUnsafe(Math.min(Math.max(total, 2 * kept.length), limit))
      kept.copy(larger)
      kept = larger
    }
    chunk.copy(kept, keptBytes)
    keptBytes = total
  }
}
