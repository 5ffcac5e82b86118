import { Transform, type TransformCallback } from 'node:stream'
import type { PartFile } from '../services/uploads/part.ts'

/** The bytes of a part or of a body, up to a limit. */
export class LimitedFile extends Transform implements PartFile {
  /** Known at the end: the part has more bytes than the limit, and the rest was dropped. */
  truncated = false
  #left: number

  constructor(limit: number) {
    super()
    this.#left = limit
    // The part may become incomplete before anything reads it.
    this.on('error', () => {})
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback) {
    const kept = chunk.length <= this.#left ? chunk : chunk.subarray(0, this.#left)
    if (kept.length < chunk.length) this.truncated = true
    this.#left -= kept.length
    done(null, kept.length > 0 ? kept : undefined)
  }
}
