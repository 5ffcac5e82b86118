import type { LinkRow } from '../../stores/data/interfaces/links.ts'
import { Busy, type Problem, Rejection, TooManyUploads } from '../errors.ts'

/** The limits for all uploads of this process together. */
export interface AdmissionLimits {
  /** Concurrent requests, of all links together. */
  uploads: number
  /** Concurrent requests. */
  uploadsPerLink: number
  uploadsPerAddress: number
  /** Bytes that are staged: received, but not recorded or discarded yet. */
  stagedBytes: number
  stagedBytesPerLink: number
}

export interface Admission {
  /** The load now: requests that were admitted, and bytes that are staged. */
  readonly load: { requests: number; stagedBytes: number }
  /**
   * The error of a request that cannot be admitted now. The link need not exist. It takes a few look-ups in memory.
   *
   * @param network returns the client's address, or the network by which it is counted
   */
  refusalOf(linkId: string, network: () => string): Problem | undefined
  /**
   * Admits a request. Call `leave` at its end.
   *
   * @param network the client's address, or the network by which it is counted
   * @throws {TooManyUploads | Busy}
   */
  enter(link: LinkRow, network: string): AdmittedUpload
}

export interface AdmittedUpload {
  /** Counts the bytes of one part, until it is recorded or discarded. */
  stage(link: LinkRow): Staging
  leave(): void
}

export interface Staging {
  /** @throws {Rejection} too_large or link_used_up by the link's limits, or busy: too many bytes are staged */
  add(bytes: number): void
  release(): void
}

/** Limits the memory and disk space that unfinished uploads use. The limits are those of one process. */
export function createAdmission(limits: AdmissionLimits): Admission {
  const uploadsOfLink = createTally()
  const uploadsOfNetwork = createTally()
  const stagedOfLink = createTally()
  const load = { requests: 0, stagedBytes: 0 }

  function stage(link: LinkRow): Staging {
    const room = roomOf(link)
    const most = link.maxFileSize ?? Number.POSITIVE_INFINITY
    let bytes = 0
    return {
      add(count) {
        if (bytes + count > most) throw new Rejection('too_large')
        if (bytes + count > room) throw new Rejection('link_used_up')
        const ofLink = stagedOfLink.of(link.id) + count
        if (ofLink > limits.stagedBytesPerLink || load.stagedBytes + count > limits.stagedBytes)
          throw new Rejection('busy')
        bytes += count
        load.stagedBytes += count
        stagedOfLink.add(link.id, count)
      },
      release() {
        load.stagedBytes -= bytes
        stagedOfLink.add(link.id, -bytes)
        bytes = 0
      },
    }
  }

  const refusalOf: Admission['refusalOf'] = (linkId, network) => {
    if (load.requests >= limits.uploads) return new Busy()
    // `network` is called only if it can matter, because most requests are admitted.
    if (
      uploadsOfLink.of(linkId) >= limits.uploadsPerLink ||
      (load.requests >= limits.uploadsPerAddress &&
        uploadsOfNetwork.of(network()) >= limits.uploadsPerAddress)
    )
      return new TooManyUploads()
    return undefined
  }

  return {
    load,
    refusalOf,

    enter(link, network) {
      const refusal = refusalOf(link.id, () => network)
      if (refusal) throw refusal
      load.requests++
      uploadsOfLink.add(link.id, 1)
      uploadsOfNetwork.add(network, 1)
      return {
        stage,
        leave() {
          load.requests--
          uploadsOfLink.add(link.id, -1)
          uploadsOfNetwork.add(network, -1)
        },
      }
    },
  }
}

/** The bytes that a link still accepts. */
const roomOf = ({ maxBytes, usedBytes }: LinkRow) =>
  maxBytes === null ? Number.POSITIVE_INFINITY : maxBytes - usedBytes

/** Sums by key. A key whose sum is 0 takes no memory. */
function createTally() {
  const sums = new Map<string, number>()
  return {
    of: (key: string) => sums.get(key) ?? 0,
    add(key: string, count: number) {
      const sum = (sums.get(key) ?? 0) + count
      if (sum === 0) sums.delete(key)
      else sums.set(key, sum)
    },
  }
}
