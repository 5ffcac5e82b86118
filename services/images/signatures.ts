import { randomBytes } from 'node:crypto'
import type { SignedUrl } from '../../schemas/images.ts'
import type { DataStore } from '../../stores/data/data-store.ts'
import { ImageNotFound, InvalidExpiry, InvalidSignature } from '../errors.ts'
import { addDuration } from '../links/expiry.ts'
import { isSigned, type Parameters, signedPath } from '../variants/sign.ts'

const KEY_BYTES = 32
const MAX_MS = 366 * 86_400_000

/** A query of an image's URL. */
export type SignedQuery = Parameters & { expires?: string; signature?: string }

/**
 * The rights that a valid signature gives. `private`: the image may be private, and the variant may have any size. `size`:
 * the variant may have any size. `none`: the URL is not signed.
 */
export type Signature = 'private' | 'size' | 'none'

export type Signatures = ReturnType<typeof createSignatures>

/**
 * Signs and checks URLs of images. A signature with `expires` is made with a signing key, and gives access to a private
 * image until that time. A signature without `expires` is made with VARIANT_KEY, and allows a variant of any size.
 */
export function createSignatures({
  secrets,
  signingKeys,
  variantKeys,
}: {
  secrets: DataStore['secrets']
  /** The first signs; all are accepted. Without one, the database keeps a key. */
  signingKeys: readonly Buffer[]
  variantKeys: readonly Buffer[]
}) {
  let stored: Promise<readonly Buffer[]> | undefined

  async function readStored() {
    const hex = await secrets.readOrCreate('signing key', randomBytes(KEY_BYTES).toString('hex'))
    return [Buffer.from(hex, 'hex')]
  }

  function keys(): Promise<readonly Buffer[]> {
    stored ??= signingKeys.length > 0 ? Promise.resolve(signingKeys) : readStored()
    stored.catch(() => {
      stored = undefined
    })
    return stored
  }

  return {
    /**
     * Checks the signature of a request before the image is looked up, so that the response does not depend on it.
     *
     * @throws {ImageNotFound} a signature with `expires` is wrong or has expired
     * @throws {InvalidSignature} a signature without `expires` is wrong
     */
    async check(path: string, query: SignedQuery, now = Date.now()): Promise<Exclude<Signature, 'none'>> {
      const { expires, signature } = query
      if (expires === undefined) {
        if (isSigned(variantKeys, path, query, signature ?? '')) return 'size'
        throw new InvalidSignature()
      }
      if (!isSigned(await keys(), path, query, signature ?? '') || Number(expires) * 1000 <= now)
        throw new ImageNotFound()
      return 'private'
    },

    /** Makes a URL that gives access to an image until it expires. @throws {InvalidExpiry} */
    async make(id: string, { expiresIn, download, ...others }: SignedUrl, now = Date.now()) {
      const until = addDuration(expiresIn, now)
      if (until === undefined || until < now + 1000 || until > now + MAX_MS)
        throw new InvalidExpiry({
          detail: 'expiresIn must be an ISO 8601 duration from a second to a year, such as "PT1H".',
        })
      const expires = Math.floor(until / 1000)
      const [key] = await keys()
      return {
        relativePath: signedPath(key!, `/images/${id}`, {
          ...others,
          ...(download && { download: '' }),
          expires,
        }),
        expiresOn: new Date(expires * 1000).toISOString(),
      }
    },
  }
}
