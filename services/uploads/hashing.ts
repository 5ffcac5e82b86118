import { createHash, type Hash } from 'node:crypto'
import { Transform } from 'node:stream'
import { freeChunks } from './free-chunks.ts'

/** A Transform that passes bytes on unchanged, and computes their digests. */
export interface Hashing {
  /** The stream for all bytes. */
  stream: Transform
  /** A stream for the next bytes, if they arrive in several streams. */
  open(): Transform
  /** The number of bytes so far. */
  readonly size: number
  /** The digest of all bytes. Call it once for each algorithm, after the last byte. */
  digest(algorithm: string): Buffer
}

/**
 * @param algorithms names that `node:crypto` knows
 * @param inspect receives each chunk before it is passed on; if it rejects, the stream fails with its error
 */
export function createHashing(
  algorithms: Iterable<string>,
  inspect: (chunk: Buffer) => Promise<unknown> | undefined,
): Hashing {
  const hashes = new Map<string, Hash>()
  for (const algorithm of algorithms) hashes.set(algorithm, createHash(algorithm))
  let size = 0

  const open = () =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        size += chunk.length
        freeChunks(chunk.length)
        for (const hash of hashes.values()) hash.update(chunk)
        const inspecting = inspect(chunk)
        if (inspecting) inspecting.then(() => done(null, chunk), done)
        else done(null, chunk)
      },
    })

  return {
    stream: open(),
    open,
    get size() {
      return size
    },
    digest: (algorithm) => hashes.get(algorithm)!.digest(),
  }
}
