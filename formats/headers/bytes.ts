import { type FileHandle, open } from 'node:fs/promises'

/** Random access to the bytes of a file, so that a header reader reads only what it needs. */
export interface Bytes {
  readonly size: number
  /** Up to `length` bytes from `offset`: fewer at the end of the file, none outside of it. */
  read(offset: number, length: number): Promise<Buffer>
}

/** The bytes of a file in memory, in one buffer or in pieces, or its path on disk. */
export type Source = Buffer | Buffer[] | { path: string }

export const bytesOf = (buffer: Buffer): Bytes => ({
  size: buffer.length,
  read: async (offset, length) =>
    offset >= 0 && offset < buffer.length ? buffer.subarray(offset, offset + length) : Buffer.alloc(0),
})

/** A range within one piece is not copied. */
function bytesOfPieces(pieces: Buffer[]): Bytes {
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0)
  return {
    size,
    async read(offset, length) {
      const found: Buffer[] = []
      const end = Math.min(offset + length, size)
      let start = 0
      for (const piece of offset >= 0 ? pieces : []) {
        if (start >= end) break
        if (start + piece.length > offset)
          found.push(piece.subarray(Math.max(0, offset - start), end - start))
        start += piece.length
      }
      return found.length === 1 ? found[0]! : Buffer.concat(found)
    },
  }
}

/** A part of the bytes, for a file within a file. */
export const part = (bytes: Bytes, start: number, end = bytes.size): Bytes => {
  const size = Math.max(0, Math.min(end, bytes.size) - start)
  return {
    size,
    read: (offset, length) =>
      offset >= 0 && offset < size
        ? bytes.read(start + offset, Math.min(length, size - offset))
        : Promise.resolve(Buffer.alloc(0)),
  }
}

// Headers are small and close together: one read of the disk usually serves the next reads too.
const WINDOW_BYTES = 16_384

/** Opens a source while `use` runs. */
export async function withBytes<T>(source: Source, use: (bytes: Bytes) => Promise<T>): Promise<T> {
  if (Buffer.isBuffer(source)) return use(bytesOf(source))
  if (Array.isArray(source)) return use(bytesOfPieces(source))
  const file = await open(source.path)
  try {
    return await use(bytesOfFile(file, (await file.stat()).size))
  } finally {
    await file.close()
  }
}

function bytesOfFile(file: FileHandle, size: number): Bytes {
  let window = { start: 0, bytes: Buffer.alloc(0) }
  const take = async (offset: number, length: number) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset)
    return buffer.subarray(0, bytesRead)
  }
  return {
    size,
    async read(offset, length) {
      if (!(offset >= 0 && offset < size)) return Buffer.alloc(0)
      const wanted = Math.min(length, size - offset)
      if (wanted > WINDOW_BYTES) return take(offset, wanted)
      const from = offset - window.start
      if (from < 0 || from + wanted > window.bytes.length) {
        window = { start: offset, bytes: await take(offset, Math.min(WINDOW_BYTES, size - offset)) }
        return window.bytes.subarray(0, wanted)
      }
      return window.bytes.subarray(from, from + wanted)
    },
  }
}
