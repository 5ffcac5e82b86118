import { parseDictionary } from 'structured-headers'

/** What a sender says that the digests of its bytes are: by the name that `node:crypto` has for the algorithm. */
export type Digests = ReadonlyMap<string, Buffer>

// The active algorithms of the registry that RFC 9530 §7.2 sets up. Others are ignored, as §2 allows.
const ALGORITHMS = new Map([
  ['sha-256', 'sha256'],
  ['sha-512', 'sha512'],
])

/**
 * Reads the values of the header fields Content-Digest and Repr-Digest (RFC 9530 §2 and §3), which mean the same where
 * there is no content coding; undefined where one of them can't be read, or where they contradict each other.
 */
export function parseDigests(fields: readonly string[]): Digests | undefined {
  const digests = new Map<string, Buffer>()
  try {
    for (const field of fields) {
      for (const [name, [value]] of parseDictionary(field)) {
        const algorithm = ALGORITHMS.get(name)
        if (!algorithm) continue
        if (!(value instanceof ArrayBuffer)) return undefined
        const digest = Buffer.from(value)
        if (digests.get(algorithm)?.equals(digest) === false) return undefined
        digests.set(algorithm, digest)
      }
    }
  } catch {
    return undefined
  }
  return digests
}
