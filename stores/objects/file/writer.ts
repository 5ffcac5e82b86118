import type { FileHandle } from 'node:fs/promises'
import { Writable } from 'node:stream'

/** Up to this many bytes that arrive during a write are written together by the next write. */
const WRITE_BYTES = 1024 * 1024
/** A large object is flushed each time this many bytes were written. Otherwise the last flush would take long. */
const FLUSH_BYTES = 16 * 1024 * 1024

/**
 * Writes bytes to a file and makes them durable.
 *
 * @param position of the first byte
 * @param flushBytes how many written bytes are flushed in the background
 */
export function createWriter(file: FileHandle, { position = 0, flushBytes = FLUSH_BYTES } = {}) {
  let written = 0
  let unflushed = 0
  let flushing: Promise<void> | undefined
  let flushFault: unknown

  async function write(chunks: Buffer[]) {
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    const { bytesWritten } = await file.writev(chunks, position + written)
    // A write may be short. Writing the rest either succeeds or fails with the reason.
    if (bytesWritten < bytes) await writeRest(Buffer.concat(chunks), bytesWritten)
    written += bytes
    unflushed += bytes
    if (unflushed >= flushBytes && !flushing) flushInBackground()
  }

  async function writeRest(bytes: Buffer, from: number) {
    for (let at = from; at < bytes.length; ) {
      const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + written + at)
      at += bytesWritten
    }
  }

  function flushInBackground() {
    unflushed = 0
    flushing = file
      .datasync()
      .catch((error) => {
        // The system reports a fault only once (fsync(2)). It is kept for the last flush.
        flushFault ??= error
      })
      .finally(() => {
        flushing = undefined
      })
  }

  return {
    stream: new Writable({
      highWaterMark: WRITE_BYTES,
      write: (chunk, _encoding, done) => {
        write([chunk]).then(() => done(), done)
      },
      writev: (chunks, done) => {
        write(chunks.map(({ chunk }) => chunk)).then(() => done(), done)
      },
    }),
    /** The number of written bytes. They are durable after the next flush. */
    get written() {
      return written
    },
    /** Makes all written bytes durable. */
    async flush() {
      await flushing
      if (flushFault) throw flushFault
      await file.datasync()
    },
  }
}
