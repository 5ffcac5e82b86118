import { create } from 'content-disposition'
import { fileExtensions } from '../../schemas/formats.ts'
import type { Representation } from '../../services/images/representation.ts'

/** The header fields of responses with an image. */
export interface ImageFields {
  /** The fields of a 304: without the fields that describe the content (RFC 9110 §15.4.5). */
  notModified: Record<string, string>
  /** The fields of a 200 and a 206, without the length. */
  content: Record<string, string>
}

/**
 * With these fields a browser runs no part of an image. An SVG can have scripts, and a program that guesses the format may
 * read the bytes as those of another format.
 */
const inert = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
  'cross-origin-resource-policy': 'cross-origin', // pages of other sites may show an image
}

/** Seconds for which a cache may serve an image without revalidation. */
type MaxAge = number | 'immutable'

const YEAR_S = 31_536_000
const DAY_S = 86_400

/** Creates the header fields of an image, once for as long as its row is cached. */
export function createImageFields({ cacheMaxAge }: { cacheMaxAge: MaxAge }) {
  const made = new WeakMap<Representation, ImageFields>()
  return (image: Representation): ImageFields => {
    const known = made.get(image)
    if (known) return known
    const fields = fieldsOf(image, cacheControl(image, cacheMaxAge))
    made.set(image, fields)
    return fields
  }
}

function fieldsOf(image: Representation, cacheControl: string): ImageFields {
  const { id, mediaType, etag, receivedAt } = image
  const notModified = {
    etag,
    'cache-control': cacheControl,
    // For a cache that can purge by tag: Cloudflare and Akamai read the first, Fastly and Varnish the second.
    ...(!image.isPrivate && { 'cache-tag': id, 'surrogate-key': id }),
    'accept-ranges': 'bytes',
    ...inert,
  }
  const content = {
    'content-type': mediaType,
    'content-disposition': disposition(image),
    'last-modified': receivedAt.toUTCString(),
    ...notModified,
  }
  return { notModified, content }
}

function cacheControl({ isOriginal, isPrivate }: Representation, maxAge: MaxAge) {
  // A browser asks each time, so that the end of a session, a signature or an image counts at once.
  if (isPrivate) return 'private, no-cache'
  if (maxAge !== 'immutable') return `public, max-age=${maxAge}, must-revalidate`
  // A stripped copy can change with an upgrade.
  return isOriginal ? `public, max-age=${YEAR_S}, immutable` : `public, max-age=${DAY_S}`
}

/** The fields of a response that a browser saves as a file. @param name the sender's name of the file */
export const asDownload = (
  { notModified, content }: ImageFields,
  { id, mediaType }: Representation,
  name: string | undefined,
): ImageFields => ({
  notModified,
  content: { ...content, 'content-disposition': create(fileName(name ?? id, mediaType)) },
})

// Characters that a path, a shell or Windows gives a meaning, and those that change the direction of a text.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}"*/:<>?\\|]/gu
const MAX_NAME_LENGTH = 100

/** A name with the extension of the format that is sent. */
function fileName(name: string, mediaType: string) {
  const stem = name
    .replace(/\.[A-Za-z0-9]{1,5}$/, '')
    .toWellFormed()
    .replace(UNSAFE, '_')
    .replace(/^[.\s]+|[.\s]+$/g, '')
  return `${[...stem].slice(0, MAX_NAME_LENGTH).join('') || 'image'}.${fileExtensions[mediaType] ?? 'bin'}`
}

/** The fields of the bytes of an image for the admin: no cache may keep them. */
export const adminFields = (
  image: Pick<Representation, 'id' | 'mediaType'> & { size: number },
): Record<string, string | number> => ({
  'content-type': image.mediaType,
  'content-length': image.size,
  'content-disposition': disposition(image),
  ...inert,
})

/**
 * The name under which a browser saves an image (RFC 6266). It is made from the id: the sender's name may have anything
 * in it. An SVG is saved and not shown as a document of this origin; other pages can still show it as an image.
 */
function disposition({ id, mediaType }: Pick<Representation, 'id' | 'mediaType'>) {
  const type = mediaType === 'image/svg+xml' ? 'attachment' : 'inline'
  return `${type}; filename="${id}.${fileExtensions[mediaType] ?? 'bin'}"`
}
