import type { FileHandle } from 'node:fs/promises'
import type { Writable } from 'node:stream'

/** A file that is sent: its bytes in pieces, or an open file. */
export type SentContent = Buffer[] | { file: FileHandle; size: number }

/** An open file is sent in pieces of this size, so that a large one takes no memory here. */
const PIECE_BYTES = 2 ** 20

/** @returns bytes */
export const sizeOf = (content: Buffer[] | { size: number }) =>
  Array.isArray(content) ? content.reduce((sum, { length }) => sum + length, 0) : content.size

/** Creates the function that sends messages and files to one process after the other. */
export function createSender() {
  // It is used again, because buffers outside of V8's heap make its garbage collection frequent. A file that is being sent
  // takes it, because its sending may continue for a moment after a timeout.
  let idlePiece: Buffer | undefined

  /** Sends a message and a file. It stops if the process has ended: then there is no answer, either. */
  return async (stdin: Writable, message: Buffer, content: SentContent): Promise<void> => {
    if (Array.isArray(content)) {
      stdin.cork()
      for (const chunk of [message, ...content]) stdin.write(chunk)
      stdin.uncork()
      return
    }
    const { file, size } = content
    const piece = idlePiece ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
    idlePiece = undefined
    try {
      stdin.write(message)
      for (let sent = 0; sent < size && !stdin.destroyed; ) {
        const { bytesRead } = await file.read(piece, 0, Math.min(PIECE_BYTES, size - sent), sent)
        if (bytesRead === 0) throw new Error(`the file ends after ${sent} of ${size} bytes`)
        await new Promise((resolve) => stdin.write(piece.subarray(0, bytesRead), resolve))
        sent += bytesRead
      }
    } finally {
      idlePiece = piece
    }
  }
}
