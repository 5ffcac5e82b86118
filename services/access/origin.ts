/** The header fields of a request that name the page from which a browser sent it. */
export interface OriginFields {
  method: string
  /** Fetch Metadata (https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header). Browsers send it to trustworthy URLs. */
  secFetchSite: string | undefined
  /** RFC 6454 §7. Browsers send it with every request but GET and HEAD. */
  origin: string | undefined
  /** The host to which the request was sent, with its port. */
  host: string
}

const SAFE = new Set(['GET', 'HEAD'])

/**
 * Whether a page of the service itself, or the user, sent a request. Without both fields, only a request that reads is
 * trusted: SameSite=Strict keeps the cookie from other sites, and CORS keeps the response from other origins.
 *
 * @param publicUrl the URL of the service; empty if it is not known
 */
export function isFromOwnPage({ method, secFetchSite, origin, host }: OriginFields, publicUrl: string) {
  const isSafe = SAFE.has(method)
  if (secFetchSite !== undefined) return secFetchSite === 'same-origin' || (secFetchSite === 'none' && isSafe)
  if (origin === undefined) return isSafe
  const own = publicUrl && new URL(publicUrl).origin
  return origin === own || origin === `http://${host}` || origin === `https://${host}`
}
