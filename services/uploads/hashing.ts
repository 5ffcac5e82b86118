import { createHash, type Hash } from 'node:crypto'
import { Transform } from 'node:stream'

/** A Transform that passes bytes on as they are and knows their digests when they have passed. */
export interface Hashing {
  stream: Transform
  /** Bytes that have passed. */
  readonly size: number
  /** The digest of all bytes; call it once, after the last. */
  digest(algorithm: string): Buffer
}

/**
 * @param algorithms names that `node:crypto` knows
 * @param inspect is shown each chunk before it is passed on; where it fails, the stream fails with its error
 */
export function createHashing(
  algorithms: Iterable<string>,
  inspect: (chunk: Buffer) => Promise<unknown> | undefined,
): Hashing {
  const hashes = new Map<string, Hash>()
  for (const algorithm of algorithms) hashes.set(algorithm, createHash(algorithm))
  let size = 0

  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      for (const hash of hashes.values()) hash.update(chunk)
      const inspecting = inspect(chunk)
      if (inspecting) inspecting.then(() => done(null, chunk), done)
      else done(null, chunk)
    },
  })

  return {
    stream,
    get size() {
      return size
    },
    digest: (algorithm) => hashes.get(algorithm)!.digest(),
  }
}
