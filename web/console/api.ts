import type { Image, ImageWithUploads } from '../../schemas/images.ts'
import type { Operation } from '../../schemas/operation.ts'
import type { Session } from '../../schemas/sessions.ts'
import type { Stats } from '../../schemas/stats.ts'
import type { StorageReport } from '../../schemas/storage.ts'

export type { Image, ImageWithUploads, Operation, Session, Stats, StorageReport }

/** A link. Most of its options are absent if they are not used. */
export interface Link {
  id: string
  url?: string
  label?: string
  description?: string
  region?: string
  status: 'open' | 'not_open_yet' | 'expired' | 'revoked' | 'used_up'
  createdAt: string
  expiresOn: string
  opensOn?: string
  maxImages?: number
  maxBytes?: number
  maxFileSize?: number
  accept?: string[]
  hasPassword?: boolean
  askSender?: string
  private?: boolean
  stripMetadata?: boolean
  uploads: number
  bytes: number
}

export interface LinkUpload {
  imageId: string
  name?: string
  size: number
  duplicate: boolean
  status: Image['status']
  receivedAt: string
  sender?: string
  message?: string
}

export interface Page<Item> {
  items: Item[]
  nextCursor?: string
}

/** The service refused a call, or was not reached (status 0). */
export class ApiError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

type Query = Record<string, string | number | undefined>

/** The relative URL of a call, so that it works below the path of any proxy. */
export function urlOf(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  const text = new URLSearchParams(
    given.map(([name, value]) => [name, String(value)] as [string, string]),
  ).toString()
  return text === '' ? path : `${path}?${text}`
}

let onSignedOut = () => {}
/** Sets what happens when a call finds that the session has ended. */
export const whenSignedOut = (act: () => void) => {
  onSignedOut = act
}

async function call<Result>(method: string, path: string, body?: object): Promise<Result> {
  const response = await fetch(path, {
    method,
    headers: { accept: 'application/json', ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  }).catch((error: Error) => {
    throw new ApiError(0, error.message)
  })
  const text = await response.text()
  const content = text === '' ? undefined : JSON.parse(text)
  if (response.ok) return content
  if (response.status === 401 && !path.endsWith('/session')) onSignedOut()
  throw new ApiError(response.status, content?.detail ?? response.statusText)
}

const get = <Result>(path: string, query?: Query) => call<Result>('GET', urlOf(path, query))
const imagePath = (id: string) => `admin/images/${encodeURIComponent(id)}`
const linkPath = (id: string) => `admin/ephemeral-links/${encodeURIComponent(id)}`

/** The calls of the public API that the console needs. */
export const api = {
  session: () => get<Session>('admin/session'),
  signIn: (token: string) => call<Session>('POST', 'admin/session', { token }),
  signOut: () => call<void>('DELETE', 'admin/session'),
  links: (query: Query) => get<Page<Link>>('admin/ephemeral-links', query),
  link: (id: string, query: Query) => get<Link & { received: Page<LinkUpload> }>(linkPath(id), query),
  createLink: (link: object) => call<{ relativePath: string }>('POST', 'admin/ephemeral-links', link),
  changeLink: (id: string, change: object) => call<Link>('PATCH', linkPath(id), change),
  revokeLink: (id: string) => call<void>('DELETE', linkPath(id)),
  images: (query: Query) => get<Page<Image>>('admin/images', query),
  image: (id: string) => get<ImageWithUploads>(imagePath(id)),
  removeImage: (id: string) => call<void>('DELETE', imagePath(id)),
  analyse: (id: string) => call<void>('POST', `${imagePath(id)}/analyse`),
  analyseAll: (status: string) => call<{ queued: number }>('POST', urlOf('admin/images/analyse', { status })),
  stats: () => get<Stats>('admin/stats'),
  storage: () => get<StorageReport>('admin/storage'),
  operation: () => get<Operation>('admin/operation'),
}

export const contentUrl = (id: string) => `${imagePath(id)}/content`
export const archiveOfLink = (id: string) => `${linkPath(id)}/archive.zip`
export const archiveOfImages = (query: Query) => urlOf('admin/images/archive.zip', query)
export const thumbnailUrl = (id: string) =>
  urlOf(`images/${id}`, { w: 320, h: 320, fit: 'cover', format: 'auto' })
export const previewUrl = (id: string, width: 1280 | 2560) =>
  urlOf(`images/${id}`, { w: width, format: 'auto' })
