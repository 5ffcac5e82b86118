import { createHash, type Hash } from 'node:crypto'
import { finished, Readable, Transform, type TransformCallback } from 'node:stream'

/** A digest of the bytes of one request. */
export interface ContentDigest {
  /** The name of the algorithm in `node:crypto`. */
  algorithm: string
  value: Buffer
}

/**
 * Takes in the body of one request. Its bytes end, and do not fail, when the sender is lost or the intake is stopped: then
 * all bytes that arrived can be appended.
 */
export class Intake {
  readonly bytes: Transform
  /** The body ended before its last byte, because the connection was lost or the intake was stopped. */
  isCut = false
  /** The body had more bytes than the limit. The rest was dropped. */
  isTooLong = false
  /** The body was received completely. */
  isEnded = false
  readonly #body: Readable
  readonly #hashes: [ContentDigest, Hash][]
  #left: number
  #matches: boolean | undefined

  /** @param limit bytes */
  constructor(body: Readable, limit: number, digests: readonly ContentDigest[] = []) {
    this.#body = body
    this.#left = limit
    this.#hashes = digests.map((digest) => [digest, createHash(digest.algorithm)])
    this.bytes = new Transform({
      transform: (chunk: Buffer, _encoding, done) => this.#take(chunk, done),
      flush: (done) => {
        this.isEnded = !this.isCut
        done()
      },
    })
    finished(body, { writable: false }, (error) => {
      if (error) this.stop()
    })
    // If the bytes cannot be appended, the rest of the body is read and dropped.
    this.bytes.once('close', () => body.resume())
    body.pipe(this.bytes)
  }

  get hasDigest() {
    return this.#hashes.length > 0
  }

  /** Whether the bytes match all digests. Call it after the last byte. */
  matchesDigests() {
    this.#matches ??= this.#hashes.every(([{ value }, hash]) => hash.digest().equals(value))
    return this.#matches
  }

  /** Ends the bytes after those that have arrived. */
  stop() {
    if (this.bytes.writableEnded) return
    this.isCut = true
    this.#body.unpipe(this.bytes)
    this.bytes.end()
  }

  #take(chunk: Buffer, done: TransformCallback) {
    const taken = chunk.length <= this.#left ? chunk : chunk.subarray(0, this.#left)
    if (taken.length < chunk.length) this.isTooLong = true
    this.#left -= taken.length
    for (const [, hash] of this.#hashes) hash.update(taken)
    done(null, taken.length > 0 ? taken : undefined)
  }
}

/** A body without bytes. */
export const noBody = () => Readable.from([])
