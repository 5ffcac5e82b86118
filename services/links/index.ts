import { Format } from 'typebox/format'
import type { Link, NewLink, Upload } from '../../schemas/links.ts'
import {
  type DataStore,
  isLimited,
  type LinkCounts,
  type LinkRow,
  type UploadRow,
} from '../../stores/data/data-store.ts'
import type { Cache } from '../cache.ts'
import { fromPage, type PageQuery, toPageRequest } from '../cursor.ts'
import { LinkExpired, LinkNotFound, LinkRevoked, LinkUsedUp, UnknownRegion } from '../errors.ts'
import { isId, newId } from '../ids.ts'
import { expiryOf } from './expiry.ts'

export type Links = ReturnType<typeof createLinks>

/** The ephemeral links. */
export function createLinks({
  data,
  regions,
  cache,
}: {
  data: DataStore
  /** The names of the regions. A link without a region gets the first one. */
  regions: readonly string[]
  cache: Cache<LinkRow>
}) {
  async function find(id: string) {
    const link = isId(id) ? await data.links.find(id) : undefined
    // The used images and bytes of a limited link change with each upload.
    if (link && !isLimited(link)) cache.set(id, link)
    return link
  }

  const counts = { created: 0 }

  return {
    counts,

    /** @throws {InvalidExpiry | UnknownRegion} */
    async create(link: NewLink) {
      const row = await data.links.insert({
        id: newId(),
        label: link.label ?? null,
        region: regionOf(link, regions),
        maxImages: link.maxImages ?? null,
        maxBytes: link.maxBytes ?? null,
        expiresAt: expiryOf(link, Date.now()),
        private: link.private ?? false,
        stripMetadata: link.stripMetadata ?? false,
      })
      counts.created++
      return { id: row.id, expiresOn: row.expiresAt.toISOString() }
    },

    /** Newest first. @throws {InvalidCursor} */
    async list(query: PageQuery) {
      return fromPage(await data.links.page(toPageRequest(query)), showLink)
    },

    /** A link and a page of its uploads. @throws {LinkNotFound | InvalidCursor} */
    async read(id: string, query: PageQuery) {
      const request = toPageRequest(query, Format.IsUuid)
      const row = isId(id) ? await data.links.findWithCounts(id) : undefined
      if (!row) throw new LinkNotFound()
      return { ...showLink(row), received: fromPage(await data.uploads.pageOfLink(id, request), showUpload) }
    },

    /** Closes a link for ever. @throws {LinkNotFound} */
    async revoke(id: string) {
      if (!isId(id) || !(await data.links.revoke(id))) throw new LinkNotFound()
      cache.delete(id)
    },

    /**
     * Finds a link, and makes sure that it is open now.
     *
     * @param startedAt when an upload began: a link that expired later still accepts it
     * @throws {LinkNotFound | LinkExpired | LinkRevoked | LinkUsedUp}
     */
    async requireOpen(id: string, startedAt = new Date()): Promise<LinkRow> {
      const link = cache.get(id) ?? (await find(id))
      if (!link) throw new LinkNotFound()
      switch (statusOf(link, startedAt)) {
        case 'expired':
          throw new LinkExpired()
        case 'revoked':
          throw new LinkRevoked()
        case 'used_up':
          throw new LinkUsedUp()
        case 'open':
          return link
      }
    },
  }
}

function regionOf({ region }: NewLink, regions: readonly string[]) {
  if (region === undefined) return regions[0]!
  if (regions.includes(region)) return region
  const names = regions.filter((name) => name !== '')
  const detail =
    names.length > 0
      ? `Send one of ${names.join(', ')}, or no region.`
      : 'This service has no regions. Send no region.'
  throw new UnknownRegion({ detail })
}

function statusOf(link: LinkRow, at = new Date()): Link['status'] {
  if (link.revokedAt) return 'revoked'
  if (link.expiresAt <= at) return 'expired'
  const { maxImages, maxBytes, usedImages, usedBytes } = link
  if ((maxImages !== null && usedImages >= maxImages) || (maxBytes !== null && usedBytes >= maxBytes))
    return 'used_up'
  return 'open'
}

const showLink = (row: LinkRow & LinkCounts): Link => ({
  id: row.id,
  ...(row.label !== null && { label: row.label }),
  ...(row.region && { region: row.region }),
  status: statusOf(row),
  createdAt: row.createdAt.toISOString(),
  expiresOn: row.expiresAt.toISOString(),
  ...(row.revokedAt && { revokedAt: row.revokedAt.toISOString() }),
  ...(row.maxImages !== null && { maxImages: row.maxImages }),
  ...(row.maxBytes !== null && { maxBytes: row.maxBytes }),
  ...(row.private && { private: true }),
  ...(row.stripMetadata && { stripMetadata: true }),
  uploads: row.uploads,
  bytes: row.bytes,
})

const showUpload = (row: UploadRow): Upload => ({
  imageId: row.imageId,
  ...(row.name && { name: row.name }),
  size: row.size,
  duplicate: row.duplicate,
  status: row.status,
  receivedAt: row.receivedAt.toISOString(),
})
