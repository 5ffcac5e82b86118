import { parseDictionary } from 'structured-headers'

/** The digests that a sender declares, by the algorithm's name in `node:crypto`. */
export type Digests = ReadonlyMap<string, Buffer>

// The active algorithms of the registry of RFC 9530 §7.2. Others are ignored, as §2 allows.
const ALGORITHMS = new Map([
  ['sha-256', 'sha256'],
  ['sha-512', 'sha512'],
])

// Digests with all registered algorithms have about 600 bytes. A field of 80 KB would take 65 ms.
const MAX_LENGTH = 2000

/**
 * Reads the header fields Content-Digest and Repr-Digest (RFC 9530 §2 and §3). Without a content coding, both have the
 * same meaning. Returns undefined if one of them is invalid, if they are longer than 2000 bytes, or if they contradict each other.
 */
export function parseDigests(fields: readonly string[]): Digests | undefined {
  if (fields.reduce((sum, { length }) => sum + length, 0) > MAX_LENGTH) return undefined
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
