import { readFile } from 'node:fs/promises'
import { compareLength } from '../../formats/declared-length.ts'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import type { Format } from '../../formats/format.ts'
import type { Source } from '../../formats/headers/bytes.ts'
import { readStart, START_BYTES } from '../../formats/start.ts'
import type { Metadata } from '../../schemas/images.ts'
import type { LinkReader } from '../analysis/reader.ts'
import { Rejection } from '../errors.ts'

/** The size of the front of a part that is held, in bytes. Most photographs have their metadata there. */
export const FRONT_BYTES = 2 ** 18
const COPY_BYTES = 4096
/** The longest file that is read before the response, for any limit. */
const MAX_INLINE_BYTES = 2 ** 25

/** Inspects the chunks of an upload. It holds `FRONT_BYTES` at most, for any sizes of the chunks. */
export interface Sniffer {
  /**
   * Takes the next bytes. Returns a promise when there are enough bytes to detect the format.
   *
   * @throws {Rejection} not_an_image
   */
  take(chunk: Buffer): Promise<unknown> | undefined

  /**
   * Reads the image's metadata. Call it after the last byte.
   *
   * @param content the whole file, if it is available; it is read if the front is not enough
   * @throws {Rejection} not_an_image
   */
  end(content?: Source): Promise<Sniffed>
}

/** `ready`: the metadata is complete. `pending`: the file is too large, or could not be read in time; a worker reads it. */
export interface Sniffed {
  status: 'ready' | 'pending'
  metadata: Metadata
}

/** @param inlineLimit bytes; only the front of a larger file is read */
export function createSniffer(inlineLimit: number, reader: LinkReader): Sniffer {
  const front = createFront()
  let passedBytes = 0
  let format: Format | undefined
  let startIsRead = false
  // Set if the start of the file has all metadata.
  let startMetadata: Metadata | undefined

  async function detectFormat() {
    // The result must not depend on the sizes of the chunks.
    const [first = EMPTY] = front.pieces
    const head = first.length < HEAD_BYTES ? Buffer.concat(front.pieces) : first
    format = await sniff(head.subarray(0, HEAD_BYTES))
    if (!format) throw new Rejection('not_an_image')
    return format
  }

  async function inspectStart() {
    const sniffed = format ?? (await detectFormat())
    if (startIsRead || front.bytes < START_BYTES) return
    startIsRead = true
    startMetadata = await readStart(front.pieces, sniffed)
    // Release the memory now: memory that is released early costs the garbage collector least.
    if (startMetadata) front.pieces.length = 0
  }

  return {
    take(chunk) {
      passedBytes += chunk.length
      if (startMetadata) return undefined
      front.hold(chunk)
      const isDue = format ? !startIsRead && front.bytes >= START_BYTES : front.bytes >= HEAD_BYTES
      return isDue ? inspectStart() : undefined
    },

    async end(content) {
      const sniffed = format ?? (await detectFormat())
      const inline = passedBytes <= Math.min(inlineLimit, MAX_INLINE_BYTES)
      if (startMetadata) return { status: inline ? 'ready' : 'pending', metadata: startMetadata }
      const whole = passedBytes === front.bytes ? front.pieces : inline ? content : undefined
      const metadata = await reader.read(sniffed, contentOf(whole ?? front.pieces))
      if (metadata === 'not_an_image') {
        // The header may be behind the front.
        if (whole) throw new Rejection('not_an_image')
        return { status: 'pending', metadata: sniffed }
      }
      if (!metadata) return { status: 'pending', metadata: sniffed }
      if (whole && (await compareLength(whole, metadata)) === 'differs') throw new Rejection('not_an_image')
      if (whole) return { status: inline ? 'ready' : 'pending', metadata }
      // Only the whole file shows the number of frames.
      const { frames: _, duration: __, ...rest } = metadata
      return { status: 'pending', metadata: rest }
    },
  }
}

const EMPTY = Buffer.alloc(0)

/** The first `FRONT_BYTES` of a part, in pieces. */
function createFront() {
  const pieces: Buffer[] = []
  // The unused end of the last piece, if that piece holds copies.
  let room = EMPTY
  return {
    pieces,
    bytes: 0,

    /** Holds a chunk without a copy, unless it is small or is a small part of a large buffer. */
    hold(chunk: Buffer) {
      let taken = chunk.subarray(0, FRONT_BYTES - this.bytes)
      this.bytes += taken.length
      if (taken.length >= COPY_BYTES && taken.length >= taken.buffer.byteLength / 2) {
        pieces.push(taken)
        room = EMPTY
        return
      }
      while (taken.length > 0) {
        if (room.length === 0) {
          room = Buffer.allocUnsafeSlow(COPY_BYTES)
          pieces.push(room.subarray(0, 0))
        }
        const copied = taken.copy(room)
        const copies = pieces.at(-1)!
        pieces[pieces.length - 1] = Buffer.from(copies.buffer, 0, copies.length + copied)
        room = room.subarray(copied)
        taken = taken.subarray(copied)
      }
    },
  }
}

/** The bytes for a decoder. The file is opened only when a decoder is free. */
const contentOf = (source: Source) => async (): Promise<Buffer[]> => {
  if (Array.isArray(source)) return source
  return [Buffer.isBuffer(source) ? source : await readFile(source.path)]
}
