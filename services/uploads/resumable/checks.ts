import type { LinkRow } from '../../../stores/data/interfaces/links.ts'
import type { ResumableRow } from '../../../stores/data/interfaces/resumable-uploads.ts'
import * as errors from '../../errors.ts'
import { type Appended, stateOf } from './upload.ts'

// They compare the statements of a request with the upload and its link.

/** @throws {TooLarge | LinkUsedUp} the link does not accept a file of this length */
export function requireRoom(link: LinkRow, length: number | undefined, maxFileSize: number) {
  if (length === undefined) return
  const most = Math.min(link.maxFileSize ?? maxFileSize, maxFileSize)
  if (length > most) throw new errors.TooLarge({ detail: `Send a file of at most ${most} bytes.` })
  if (link.maxBytes !== null && length > link.maxBytes - link.usedBytes) throw new errors.LinkUsedUp()
}

/** @throws {MismatchingUploadOffset} */
export function requireOffset({ size }: ResumableRow, offset: number) {
  if (offset !== size) throw new errors.MismatchingUploadOffset({ expected: size, provided: offset })
}

/** The length of the upload, after a request that may state it. @throws {InconsistentUploadLength} */
export function knownLength(
  row: Pick<ResumableRow, 'length'>,
  offset: number,
  stated: number | undefined,
  { size, isLast }: Appended,
) {
  const end = size === undefined ? undefined : offset + size
  const lengths = [row.length ?? undefined, stated, isLast ? end : undefined].filter((l) => l !== undefined)
  const [length] = lengths
  if (lengths.some((other) => other !== length)) throw new errors.InconsistentUploadLength()
  if (length !== undefined && (end ?? offset) > length) throw new errors.InconsistentUploadLength()
  return length ?? null
}

/**
 * The response to a request that sends the end of a completed upload again, because the response was lost.
 *
 * @throws {CompletedUpload} the request has bytes, or another offset
 */
export function replay(row: ResumableRow, offset: number, { size, stream }: Appended) {
  stream.resume()
  if (offset !== row.size || size !== 0) throw new errors.CompletedUpload()
  return stateOf(row)
}
