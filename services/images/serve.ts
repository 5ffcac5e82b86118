import type { Readable } from 'node:stream'
import { planWithoutMetadata, readPlan, strippable } from '../../formats/strip/index.ts'
import { CannotStrip } from '../../formats/strip/plan.ts'
import type { ByteRange } from '../../schemas/byte-range.ts'
import { MetadataNotRemovable } from '../errors.ts'
import type { Content } from './content.ts'
import type { FindImage, MayReadPrivate } from './find.ts'
import type { LastAccess } from './last-access.ts'
import type { Plans } from './plans.ts'
import type { Representation, Servable } from './representation.ts'

/** A client's request for an image. */
export interface ServeRequest {
  /** `none`: without Exif, XMP and IPTC. */
  metadata: 'all' | 'none'
  /** It is called for a private image, and for an unknown id. */
  mayReadPrivate: MayReadPrivate
  /** Whether the client already has this representation. It is called before any byte is read, and may throw. */
  isFresh(image: Representation): boolean
  /** The range to read of `size` bytes; undefined for all of them. It may throw. Without it, no byte is read. */
  range?(image: Representation, size: number): ByteRange | undefined
}

/** An image that the client already has, or its size, and its bytes if they were requested. */
export type Served =
  | { image: Representation; isFresh: true }
  | {
      image: Representation
      isFresh: false
      /** Bytes of the whole representation. */
      size: number
      range?: ByteRange | undefined
      /** The bytes of `range`, or of the whole representation. A stream is already open, so it cannot be missing any more. */
      content?: Buffer | Readable
    }

/** Responses of this process with an image, by kind. */
export interface ServeCounts {
  full: number
  partial: number
  notModified: number
  /** Bytes of content in the responses. */
  bytes: number
}

/** Creates the service that finds an image by its id, and opens its bytes for a client. */
export function createServe({
  find,
  content,
  plans,
  lastAccess,
}: {
  find: FindImage['find']
  content: Content
  plans: Plans
  lastAccess: LastAccess
}) {
  const counts: ServeCounts = { full: 0, partial: 0, notModified: 0, bytes: 0 }

  async function serveOriginal({ row, original: image }: Servable, request: ServeRequest): Promise<Served> {
    if (request.isFresh(image)) return { image, isFresh: true }
    const { size } = row
    if (!request.range) return { image, isFresh: false, size }
    const range = request.range(image, size)
    return { image, isFresh: false, size, range, content: await content.read(row, range) }
  }

  async function serveStripped({ row, stripped: image }: Servable, request: ServeRequest): Promise<Served> {
    if (!strippable.has(row.mediaType)) throw notRemovable(`${row.mediaType} cannot be served without it`)
    // Before the plan, because a plan reads the whole file.
    if (request.isFresh(image)) return { image, isFresh: true }
    const open = (range?: ByteRange) => content.open(row, range)
    const plan = await planOf(row, open)
    const { size } = plan
    if (!request.range) return { image, isFresh: false, size }
    const range = request.range(image, size)
    return { image, isFresh: false, size, range, content: await readPlan(plan, open, range) }
  }

  async function planOf({ id, mediaType }: Servable['row'], open: Parameters<typeof planWithoutMetadata>[1]) {
    try {
      return await plans.get(id, () => planWithoutMetadata(mediaType, open))
    } catch (error) {
      throw error instanceof CannotStrip ? notRemovable(error.message) : error
    }
  }

  return {
    counts,

    /**
     * Finds an image and opens the bytes that the client requests.
     *
     * @throws {ImageNotFound | ImageGone | ImageDamaged | ImageNotVerified}
     * @throws {MetadataNotRemovable | Busy} with `metadata: 'none'`, or if its link removes metadata
     */
    async serve(id: string, request: ServeRequest): Promise<Served> {
      const servable = await find(id, request.mayReadPrivate)
      lastAccess.note(id)
      const isStripped = request.metadata === 'none' || servable.row.stripMetadata
      const served = await (isStripped ? serveStripped : serveOriginal)(servable, request)
      countServed(counts, served)
      return served
    },
  }
}

function countServed(counts: ServeCounts, served: Served) {
  if (served.isFresh) counts.notModified++
  else if (served.content) {
    const { range, size } = served
    if (range) counts.partial++
    else counts.full++
    counts.bytes += range ? range.end - range.start + 1 : size
  }
}

const notRemovable = (reason: string) =>
  new MetadataNotRemovable({ detail: `The metadata of this image cannot be removed: ${reason}.` })
