import type { ServedRow } from '../../stores/data/interfaces/images.ts'
import type { MadeVariant } from '../../stores/data/interfaces/variants.ts'
import { WrongSize } from '../../stores/objects/object-store.ts'
import type { Cache } from '../cache.ts'
import { Problem } from '../errors.ts'
import type { ByteCache } from '../images/byte-cache.ts'
import { createContent } from '../images/content.ts'
import type { Images } from '../images/index.ts'
import type { LastAccess } from '../images/last-access.ts'
import type { Representation, Servable } from '../images/representation.ts'
import type { Served, ServeRequest } from '../images/serve.ts'
import { createMake, type MakeOptions } from './make.ts'
import { negotiate } from './negotiate.ts'
import { removeVariants } from './remove.ts'
import { toRequest, toWanted, type VariantQuery, type Wanted } from './spec.ts'

export type Variants = ReturnType<typeof createVariants>

/** A variant, in the form in which it is served. */
export interface ServableVariant {
  row: MadeVariant
  image: Representation
}

export interface VariantsOptions extends Omit<MakeOptions, 'counts'> {
  images: Pick<Images, 'find'>
  cache: Cache<ServableVariant>
  bytes: ByteCache
  lastAccess: LastAccess
  /** The widths and heights that need no signature, in pixels. */
  sizes: readonly number[]
}

/** A client's request for a variant. */
export interface VariantRequest extends Omit<ServeRequest, 'metadata'> {
  query: VariantQuery
  /** The header field Accept, for `format=auto`. */
  accept: string | undefined
  /** Whether the URL is signed, so that any size is allowed. */
  isSigned: boolean
}

/** An object of a variant is missing or cut off, although it has a row. */
class ObjectLost extends Error {}

/** Pictures that are made from images for web pages. */
export function createVariants(options: VariantsOptions) {
  const { stores, images, cache, lastAccess, sizes } = options
  const counts = { created: 0, served: 0, refused: 0 }
  const make = createMake({ ...options, counts })
  const content = createContent({
    objects: stores.objects,
    byteCache: options.bytes,
    async refind() {
      throw new ObjectLost()
    },
  })

  async function findOrMake(servable: Servable, wanted: Wanted, accept: string | undefined) {
    const { row } = servable
    const format = wanted.format === 'auto' ? negotiate(accept, row.mediaType) : wanted.format
    const { request, spec } = toRequest(wanted, format)
    const key = `${row.id} ${spec} ${wanted.format === 'auto'}`
    const known = cache.get(key)
    if (known && known.image.isPrivate === servable.isPrivate) return { key, variant: known }
    const found = await stores.data.variants.find(row.id, spec)
    const made = (found as MadeVariant | undefined) ?? (await make({ image: row, spec, request }))
    const variant = { row: made, image: toRepresentation(servable, made, wanted.format === 'auto') }
    cache.set(key, variant)
    return { key, variant }
  }

  async function open(servable: Servable, wanted: Wanted, request: VariantRequest): Promise<Served> {
    const { key, variant } = await findOrMake(servable, wanted, request.accept)
    const { row, image } = variant
    if (request.isFresh(image)) return { image, isFresh: true }
    const { size } = row
    if (!request.range) return { image, isFresh: false, size }
    const range = request.range(image, size)
    try {
      const stored = { id: row.objectKey, size, region: servable.row.region, tier: 'hot' as const }
      return { image, isFresh: false, size, range, content: await content.read(stored, range) }
    } catch (error) {
      cache.delete(key)
      if (!(error instanceof ObjectLost || error instanceof WrongSize)) throw error
      await removeFaulty(row.objectKey, servable.row.region)
      throw new ObjectLost()
    }
  }

  /** Deletes a variant whose object cannot be used. The next request makes it again. */
  async function removeFaulty(objectKey: string, region: string) {
    await stores.data.variants.remove(objectKey)
    await stores.objects.at({ region, tier: 'hot' }).delete(objectKey)
  }

  async function serve(id: string, request: VariantRequest): Promise<Served> {
    // Before the image is looked up, so that the response does not show whether there is one.
    const wanted = toWanted(request.query, { sizes, isSigned: request.isSigned })
    const servable = await images.find(id, request.mayReadPrivate)
    lastAccess.note(id)
    try {
      return await open(servable, wanted, request)
    } catch (error) {
      if (!(error instanceof ObjectLost)) throw error
      return open(servable, wanted, request)
    }
  }

  return {
    counts,

    /**
     * Finds a variant or makes it, and opens the bytes that the client requests.
     *
     * @throws {InvalidVariant} the size needs a signature
     * @throws {ImageNotFound | ImageGone | ImageDamaged | ImageNotVerified}
     * @throws {NotAcceptable | ImageNotShowable | ImageNotDecodable | VariantFailed | Busy}
     */
    async serve(id: string, request: VariantRequest): Promise<Served> {
      try {
        const served = await serve(id, request)
        if (!served.isFresh && served.content) counts.served++
        return served
      } catch (error) {
        if (error instanceof Problem) counts.refused++
        throw error
      }
    },

    /** Deletes the variants of an image. They are made again when they are requested. @throws {ImageNotFound | ImageGone} */
    removeOf: ({ id, region }: Pick<ServedRow, 'id' | 'region'>) => removeVariants(stores, [{ id, region }]),

    /** Deletes up to `limit` variants of all images. Resolves with their number. */
    async removeSome(limit: number): Promise<number> {
      const removed = await stores.data.variants.removeSome(limit)
      for (const { objectKey, region } of removed)
        if (objectKey) await stores.objects.at({ region, tier: 'hot' }).delete(objectKey)
      return removed.length
    },
  }
}

const toRepresentation = (
  { isPrivate }: Servable,
  { imageId, mediaType, hash, createdAt }: MadeVariant,
  variesByAccept: boolean,
): Representation => ({
  id: imageId,
  mediaType,
  etag: `"v-${hash.slice(0, 32)}"`,
  receivedAt: createdAt,
  isOriginal: false,
  isPrivate,
  variesByAccept,
})
