import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ResumableRow } from '../../../stores/data/interfaces/resumable-uploads.ts'
import type { ImageReader } from '../../analysis/reader.ts'
import { createHashing, type Hashing } from '../hashing.ts'
import { createSniffer, type Sniffer } from '../sniffer.ts'

/** An entry has up to 256 KiB. */
const MAX_ENTRIES = 64

/** The hash and the sniffer of an upload, for its first bytes. */
export interface Digesting {
  readonly hashing: Hashing
  readonly sniffer: Sniffer
}

/**
 * Keeps the hashes of unfinished uploads between two requests. A hash of `node:crypto` cannot be stored, so it is in the
 * memory of this process. If other processes received bytes, these are read from the store at the end.
 */
export function createDigestings(reader: ImageReader, inlineLimit: number) {
  const kept = new Map<string, Digesting>()

  const create = (linkId: string, algorithms: Iterable<string>): Digesting => {
    const sniffer = createSniffer(inlineLimit, reader.of(linkId))
    const hashing = createHashing(new Set(['sha256', ...algorithms]), (chunk) => sniffer.take(chunk))
    return { hashing, sniffer }
  }

  return {
    /** Takes out the digesting of an upload, or begins one. The caller puts it back if its bytes are durable. */
    take({ id, linkId, digests }: ResumableRow): Digesting {
      const found = kept.get(id) ?? create(linkId, Object.keys(digests))
      kept.delete(id)
      return found
    },
    put(id: string, digesting: Digesting) {
      kept.set(id, digesting)
      const [oldest] = kept.keys()
      if (kept.size > MAX_ENTRIES && oldest !== undefined) kept.delete(oldest)
    },
    delete: (id: string) => kept.delete(id),
  }
}

/** Adds bytes that were not received by this process. @throws {Rejection} not_an_image */
export async function addStored({ hashing }: Digesting, bytes: Readable) {
  await pipeline(bytes, hashing.open(), async (passed) => {
    for await (const _ of passed);
  })
}
