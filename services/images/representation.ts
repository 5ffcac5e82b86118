import type { ServedRow } from '../../stores/data/interfaces/images.ts'

/**
 * Version of the code that removes metadata. Increase it when the stripped copy of any image changes, because caches
 * keep a copy as long as its ETag stays the same.
 */
const STRIPPING_VERSION = 2

/**
 * One form in which an image is served. There is one object for each form as long as the image's row is cached, so a
 * caller can attach what it derives from it to the object itself.
 */
export interface Representation {
  id: string
  mediaType: string
  /** The entity tag, with quotes (RFC 9110 §8.8.3). */
  etag: string
  receivedAt: Date
  /** Whether the bytes are those that were received. They never change. A stripped copy can change with an upgrade. */
  isOriginal: boolean
  /** Whether no shared cache may keep it. */
  isPrivate: boolean
  /** Whether the client's Accept has selected it. */
  variesByAccept?: boolean
}

/** An image that may be served, in each of its forms. */
export interface Servable {
  row: ServedRow
  /** Whether only a request with a token or a signed URL gets it. */
  isPrivate: boolean
  original: Representation
  stripped: Representation
}

export function toServable(row: ServedRow, { isPrivate }: { isPrivate: boolean }): Servable {
  const { id, mediaType, receivedAt, hash } = row
  return {
    row,
    isPrivate,
    original: { id, mediaType, receivedAt, etag: `"${hash}"`, isOriginal: true, isPrivate },
    // Made from the id, which the client has. The hash of the original would let a client guess removed metadata.
    stripped: {
      id,
      mediaType,
      receivedAt,
      etag: `"${id}-stripped-${STRIPPING_VERSION}"`,
      isOriginal: false,
      isPrivate,
    },
  }
}
