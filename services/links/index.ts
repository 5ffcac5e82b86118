import { Format } from 'typebox/format'
import type { Link, LinkChange, NewLink, Upload, UploadLink } from '../../schemas/links.ts'
import type { DataStore } from '../../stores/data/data-store.ts'
import {
  isLimited,
  type LinkChanges,
  type LinkCounts,
  type LinkRow,
} from '../../stores/data/interfaces/links.ts'
import type { UploadRow } from '../../stores/data/interfaces/uploads.ts'
import type { Cache } from '../cache.ts'
import { fromPage, type PageQuery, toPageRequest } from '../cursor.ts'
import {
  InvalidExpiry,
  LinkExpired,
  LinkNotFound,
  LinkNotOpen,
  LinkRevoked,
  LinkUsedUp,
  UnknownRegion,
} from '../errors.ts'
import { isId, newId } from '../ids.ts'
import { expiryOf, instantOf } from './expiry.ts'
import { hashPassword } from './passwords.ts'

export type Links = ReturnType<typeof createLinks>

/** The ephemeral links. */
export function createLinks({
  data,
  regions,
  cache,
  publicUrl = '',
}: {
  data: DataStore
  /** The names of the regions. A link without a region gets the first one. */
  regions: readonly string[]
  cache: Cache<LinkRow>
  /** The URL of the service without a slash at its end, if it is known. */
  publicUrl?: string
}) {
  const showLink = (row: LinkRow & LinkCounts) => showRow(row, publicUrl)

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
      const expiresAt = expiryOf(link, Date.now())
      const options = await optionsOf(link)
      requireOrder(options.opensAt, expiresAt)
      const row = await data.links.insert({
        id: newId(),
        label: link.label ?? null,
        region: regionOf(link, regions),
        maxImages: link.maxImages ?? null,
        maxBytes: link.maxBytes ?? null,
        expiresAt,
        ...options,
      })
      counts.created++
      return { id: row.id, expiresOn: row.expiresAt.toISOString() }
    },

    /**
     * Changes a link that is not revoked, also an expired one. Other processes see the change within 5 s.
     *
     * @throws {LinkNotFound | LinkRevoked | InvalidExpiry}
     */
    async change(id: string, change: LinkChange) {
      const before = isId(id) ? await data.links.find(id) : undefined
      if (!before) throw new LinkNotFound()
      const isMoved = change.sinceNow !== undefined || change.timeExact !== undefined
      const changes: LinkChanges = {
        ...(change.label !== undefined && { label: change.label }),
        ...(change.maxImages !== undefined && { maxImages: change.maxImages }),
        ...(change.maxBytes !== undefined && { maxBytes: change.maxBytes }),
        ...(await optionsOf(change)),
      }
      const expiresAt = isMoved ? expiryOf(change, Date.now()) : before.expiresAt
      requireOrder(changes.opensAt === undefined ? before.opensAt : changes.opensAt, expiresAt)
      const row = await data.links.update(id, { ...changes, ...(isMoved && { expiresAt }) })
      cache.delete(id)
      if (!row) throw new LinkRevoked()
      return showLink(row)
    },

    /** Newest first. @throws {InvalidCursor} */
    async list({ search, ...query }: PageQuery & { search?: string | undefined }) {
      return fromPage(await data.links.page({ ...toPageRequest(query), text: search }), showLink)
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
     * @throws {LinkNotFound | LinkNotOpen | LinkExpired | LinkRevoked | LinkUsedUp}
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
        case 'not_open_yet':
          throw notOpen(link.opensAt!)
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
  return link.opensAt !== null && link.opensAt.getTime() > Date.now() ? 'not_open_yet' : 'open'
}

const notOpen = (opensOn: Date) =>
  new LinkNotOpen({ opensOn, detail: `The link opens at ${opensOn.toISOString()}. Try again then.` })

/** The options of a new link, or those that change. Null removes one. */
async function optionsOf(link: NewLink | LinkChange): Promise<LinkChanges> {
  const { description, accept, maxFileSize, opensOn, password, askSender, stripMetadata } = link
  return {
    ...(link.private !== undefined && { private: link.private }),
    ...(stripMetadata !== undefined && { stripMetadata }),
    ...(description !== undefined && { description }),
    ...(accept !== undefined && { accept: accept?.join(',') ?? null }),
    ...(maxFileSize !== undefined && { maxFileSize }),
    ...(opensOn !== undefined && { opensAt: opensOn === null ? null : instantOf(opensOn) }),
    ...(password !== undefined && { passwordHash: password === null ? null : await hashPassword(password) }),
    ...(askSender !== undefined && { askSender }),
  }
}

/** @throws {InvalidExpiry} the link would never be open */
function requireOrder(opensAt: Date | null | undefined, expiresAt: Date) {
  if (opensAt && opensAt >= expiresAt)
    throw new InvalidExpiry({
      detail: 'The link would expire before it opens. opensOn must be before the expiry.',
    })
}

const showRow = (row: LinkRow & LinkCounts, publicUrl: string): Link => ({
  id: row.id,
  relativePath: `/uploads/${row.id}`,
  ...(publicUrl && { url: `${publicUrl}/uploads/${row.id}` }),
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
  ...(row.description !== null && { description: row.description }),
  ...(row.accept !== null && { accept: row.accept.split(',') as NonNullable<Link['accept']> }),
  ...(row.maxFileSize !== null && { maxFileSize: row.maxFileSize }),
  ...(row.opensAt && { opensOn: row.opensAt.toISOString() }),
  hasPassword: row.passwordHash !== null,
  askSender: row.askSender,
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
  ...(row.sender !== null && { sender: row.sender }),
  ...(row.message !== null && { message: row.message }),
})

/** The limits of the service, which apply to every link. */
export interface ServiceLimits {
  accept: ReadonlySet<string>
  maxFileSize: number
  maxFiles: number
}

/** The data of an open link that senders may read. */
export const showToSender = (row: LinkRow, service: ServiceLimits): UploadLink => ({
  status: 'open',
  ...(row.label !== null && { label: row.label }),
  ...(row.description !== null && { description: row.description }),
  expiresOn: row.expiresAt.toISOString(),
  accept: (row.accept?.split(',') ?? [...service.accept]).filter((type) =>
    service.accept.has(type),
  ) as UploadLink['accept'],
  maxFileSize: Math.min(row.maxFileSize ?? Number.POSITIVE_INFINITY, service.maxFileSize),
  maxFiles: service.maxFiles,
  ...(row.maxImages !== null && { remainingImages: Math.max(0, row.maxImages - row.usedImages) }),
  ...(row.maxBytes !== null && { remainingBytes: Math.max(0, row.maxBytes - row.usedBytes) }),
  hasPassword: row.passwordHash !== null,
  askSender: row.askSender,
  ...(row.private && { private: true }),
  ...(row.stripMetadata && { stripMetadata: true }),
})
