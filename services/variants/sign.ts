import { createHmac, timingSafeEqual } from 'node:crypto'

/** Parameters of a URL. A parameter without a value has the value ''. Undefined ones are left out. */
export type Parameters = Record<string, string | number | undefined>

/**
 * The query that is signed: the parameters in the order of their names, without `signature`. Names and values must have
 * no character that a URL would encode.
 */
export const canonicalQuery = (parameters: Parameters): string =>
  Object.entries(parameters)
    .filter(([name, value]) => value !== undefined && name !== 'signature')
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .sort()
    .join('&')

/**
 * Signs a path and its parameters: the HMAC-SHA-256 of `path?query` in base64url, 43 characters.
 *
 * @param path the path at the service, such as `/images/{id}`, without a path of PUBLIC_URL
 */
export const sign = (key: Buffer, path: string, parameters: Parameters): string =>
  createHmac('sha256', key)
    .update(`${path}?${canonicalQuery(parameters)}`)
    .digest('base64url')

/** The path with its query and the signature. */
export const signedPath = (key: Buffer, path: string, parameters: Parameters): string =>
  `${path}?${canonicalQuery(parameters)}&signature=${sign(key, path, parameters)}`

/** Whether one of the keys has made the signature. The time does not depend on the signature. */
export function isSigned(
  keys: readonly Buffer[],
  path: string,
  parameters: Parameters,
  signature: string,
): boolean {
  const given = Buffer.from(signature)
  return keys
    .map((key) => Buffer.from(sign(key, path, parameters)))
    .map((expected) => expected.length === given.length && timingSafeEqual(expected, given))
    .includes(true)
}
