import type { FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { ByteRange } from '../../../schemas/byte-range.ts'
import type { ReadOptions } from '../object-store.ts'

/** A slow client keeps one buffer of this many bytes in memory. */
const READ_BYTES = 256 * 1024

/**
 * Reads a file, or a range of its bytes, and closes it at the end.
 *
 * A read may return fewer bytes than requested although the file has more (NFS, FUSE): only a read of 0 bytes is the
 * end of the file (POSIX, read(2)).
 */
export function createReader(
  file: FileHandle,
  range: ByteRange = { start: 0, end: Infinity },
  { reuse = false }: ReadOptions = {},
): Readable {
  let position = range.start
  const end = range.end + 1
  let piece: Buffer | undefined

  async function next() {
    const length = Math.min(READ_BYTES, end - position)
    if (length === 0) return null
    if (!piece || !reuse) piece = Buffer.allocUnsafeSlow(length)
    const { bytesRead } = await file.read(piece, 0, length, position)
    position += bytesRead
    return bytesRead > 0 ? piece.subarray(0, bytesRead) : null
  }

  return new Readable({
    // No read-ahead: the next piece is read after the previous one was sent.
    highWaterMark: 0,
    read() {
      next().then(
        (bytes) => this.push(bytes),
        (error) => this.destroy(error),
      )
    },
    // Closing waits for a read that is in progress.
    destroy(error, done) {
      file.close().then(() => done(error), done)
    },
  })
}
