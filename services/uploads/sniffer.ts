import { type Format, HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { NotAnImage, readMetadata, readStart, type Source, START_BYTES } from '../../formats/metadata.ts'
import type { Metadata } from '../../schemas/images.ts'
import { Rejection } from '../errors.ts'

/** How much of a part is held, from its front: most photographs have their metadata there. */
export const FRONT_BYTES = 2 ** 18
const COPY_BYTES = 4096

/** What stands beside a stream and learns what passes by. It holds `FRONT_BYTES` at most, however they are cut. */
export interface Sniffer {
  /**
   * Takes the next bytes. As soon as there are enough to tell, it tells whether they are those of an image.
   *
   * @throws {Rejection} not_an_image
   */
  take(chunk: Buffer): Promise<unknown> | undefined

  /**
   * After the last byte: what the image tells of itself.
   *
   * @param content all that has passed, where it is at hand; it is looked at where the front is not enough
   * @throws {Rejection} not_an_image
   */
  end(content?: Source): Promise<Sniffed>
}

/** `ready`: it is all that the image tells; `pending`: it may tell more, and a worker has to look. */
export interface Sniffed {
  status: 'ready' | 'pending'
  metadata: Metadata
}

/** @param inlineLimit bytes: of a larger file no more than the front is looked at */
export function createSniffer(inlineLimit: number): Sniffer {
  const front: Buffer[] = []
  // The free rest of the last piece of the front, where that is one of copies.
  let room = Buffer.alloc(0)
  let frontBytes = 0
  let passedBytes = 0
  let format: Format | undefined
  let startRead = false
  // What the start of the file has told, where that is all.
  let told: Metadata | undefined

  async function learnFormat() {
    // Always of the same bytes, however they were cut into chunks.
    const [first = room] = front
    format = await sniff((first.length < HEAD_BYTES ? Buffer.concat(front) : first).subarray(0, HEAD_BYTES))
    if (!format) throw new Rejection('not_an_image')
    return format
  }

  async function look() {
    const sniffed = format ?? (await learnFormat())
    if (startRead || frontBytes < START_BYTES) return
    startRead = true
    told = await readStart(front, sniffed)
    // Nothing is held any longer: memory that is let go at once costs the garbage collector least.
    if (told) front.length = 0
  }

  return {
    take(chunk) {
      passedBytes += chunk.length
      if (told) return undefined
      keep(chunk)
      const isDue = format ? !startRead && frontBytes >= START_BYTES : frontBytes >= HEAD_BYTES
      return isDue ? look() : undefined
    },

    async end(content) {
      const sniffed = format ?? (await learnFormat())
      const inline = passedBytes <= inlineLimit
      if (told) return { status: inline ? 'ready' : 'pending', metadata: told }
      const whole = passedBytes === frontBytes ? front : inline ? content : undefined
      return {
        status: whole && inline ? 'ready' : 'pending',
        metadata: whole ? await readWhole(whole, sniffed) : await readFront(front, sniffed),
      }
    },
  }

  // A chunk is held as it is, unless it is small, or keeps alive a memory that is mostly others': then a copy of it.
  function keep(chunk: Buffer) {
    let taken = chunk.subarray(0, FRONT_BYTES - frontBytes)
    frontBytes += taken.length
    if (taken.length >= COPY_BYTES && taken.length >= taken.buffer.byteLength / 2) {
      front.push(taken)
      room = room.subarray(room.length)
      return
    }
    while (taken.length > 0) {
      if (room.length === 0) {
        room = Buffer.allocUnsafeSlow(COPY_BYTES)
        front.push(room.subarray(0, 0))
      }
      const copied = taken.copy(room)
      const copies = front.at(-1)!
      front[front.length - 1] = Buffer.from(copies.buffer, 0, copies.length + copied)
      room = room.subarray(copied)
      taken = taken.subarray(copied)
    }
  }
}

async function readWhole(source: Source, format: Format) {
  try {
    return await readMetadata(source, format)
  } catch (error) {
    throw error instanceof NotAnImage ? new Rejection('not_an_image') : error
  }
}

/** What the front tells; its header may stand further behind. How many frames there are, only the whole file tells. */
async function readFront(front: Buffer[], format: Format): Promise<Metadata> {
  try {
    const { frames: _, duration: __, ...metadata } = await readMetadata(front, format)
    return metadata
  } catch (error) {
    if (error instanceof NotAnImage) return format
    throw error
  }
}
