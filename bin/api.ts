import { readFile } from 'node:fs/promises'
import type { Static } from 'typebox'
import { type ClientConfig, readClientConfig, readConfig } from '../config.ts'
import type { AuditEntry } from '../schemas/audit.ts'
import type { Image, QueuedImages, RemovedImages } from '../schemas/images.ts'
import type { CreatedLink, Link, NewLink, Upload } from '../schemas/links.ts'
import type { Problem } from '../schemas/problem.ts'
import type { Stats } from '../schemas/stats.ts'
import type { StorageReport } from '../schemas/storage.ts'
import type { CreatedToken, NewToken, Token } from '../schemas/tokens.ts'
import { CommandError, EXIT } from './output.ts'

interface PageOf<Item> {
  items: Item[]
  nextCursor?: string
}

/**
 * The operations of the public API that the commands use. Their types come from the schemas from which /openapi.json is
 * made. A test compares this list with /openapi.json.
 */
interface Operations {
  createLink: { body: NewLink; result: Static<typeof CreatedLink> }
  listLinks: { query: PageRequest; result: PageOf<Link> }
  readLink: { id: string; query: PageRequest; result: Link & { received: PageOf<Upload> } }
  changeLink: { id: string; body: object; result: Link }
  revokeLink: { id: string; result: undefined }
  listImages: { query: PageRequest & Record<string, string | undefined>; result: PageOf<Image> }
  readImage: { id: string; result: Image }
  removeImage: { id: string; result: undefined }
  removeImages: { query: Record<string, string | undefined>; result: Static<typeof RemovedImages> }
  analyseImage: { id: string; result: Static<typeof QueuedImages> }
  analyseImages: { query: { status: string }; result: Static<typeof QueuedImages> }
  readStats: { result: Stats }
  readStorage: { result: StorageReport }
  createToken: { body: NewToken; result: CreatedToken }
  listTokens: { query: PageRequest; result: PageOf<Token> }
  rotateToken: { id: string; result: CreatedToken }
  revokeToken: { id: string; result: undefined }
  listAudit: { query: PageRequest & Record<string, string | undefined>; result: PageOf<AuditEntry> }
}

type PageRequest = { limit?: string; cursor?: string | undefined }

/** The method and the path of each operation. */
export const paths: Record<keyof Operations | 'getImageContent' | 'exportAudit', [string, string]> = {
  createLink: ['POST', '/admin/ephemeral-links'],
  listLinks: ['GET', '/admin/ephemeral-links'],
  readLink: ['GET', '/admin/ephemeral-links/{id}'],
  changeLink: ['PATCH', '/admin/ephemeral-links/{id}'],
  revokeLink: ['DELETE', '/admin/ephemeral-links/{id}'],
  listImages: ['GET', '/admin/images'],
  readImage: ['GET', '/admin/images/{id}'],
  getImageContent: ['GET', '/admin/images/{id}/content'],
  removeImage: ['DELETE', '/admin/images/{id}'],
  removeImages: ['DELETE', '/admin/images'],
  analyseImage: ['POST', '/admin/images/{id}/analyse'],
  analyseImages: ['POST', '/admin/images/analyse'],
  readStats: ['GET', '/admin/stats'],
  readStorage: ['GET', '/admin/storage'],
  createToken: ['POST', '/admin/tokens'],
  listTokens: ['GET', '/admin/tokens'],
  rotateToken: ['POST', '/admin/tokens/{id}/rotate'],
  revokeToken: ['DELETE', '/admin/tokens/{id}'],
  listAudit: ['GET', '/admin/audit'],
  exportAudit: ['GET', '/admin/audit/export'],
}

interface Given {
  id?: string
  query?: Record<string, string | undefined>
  body?: object
}

export interface Api {
  url: string
  call<Name extends keyof Operations>(
    name: Name,
    given: Omit<Operations[Name], 'result'>,
  ): Promise<Operations[Name]['result']>
  /** All items of a list, page by page. */
  all<Item>(read: (page: PageRequest) => Promise<PageOf<Item>>): AsyncGenerator<Item>
  /** The response of an operation whose content is not JSON. */
  open(name: 'getImageContent' | 'exportAudit', given: Given): Promise<Response>
}

/** Opens the API of HASTY_URL with HASTY_TOKEN. Without either, that of the service on this machine, with its token. */
export async function openApi(): Promise<Api> {
  const client = readClientConfig()
  const token = client.token ?? (await localToken(client))
  warnAboutPlainHttp(client)
  const send = (name: keyof typeof paths, given: Given) => request(client.url, token, name, given)
  return {
    url: client.url,
    open: send,
    async call(name, given) {
      const response = await send(name, given as Given)
      return (response.status === 204 ? undefined : await response.json()) as never
    },
    async *all(read) {
      for (let cursor: string | undefined; ; ) {
        const { items, nextCursor } = await read({ limit: '500', cursor })
        yield* items
        if (!nextCursor) return
        cursor = nextCursor
      }
    },
  }
}

/** The token of the service that uses the same configuration. */
async function localToken({ isGiven }: ClientConfig) {
  if (isGiven)
    throw new CommandError(
      'HASTY_URL is set, but HASTY_TOKEN is not. Set it to an access token of that service.',
      EXIT.usage,
    )
  const { accessTokens, accessTokenFile, dataDir } = readConfig()
  if (accessTokens[0]) return accessTokens[0]
  const path = accessTokenFile ?? `${dataDir}/access-token`
  const content = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(
      `There is no access token: ${path} can't be read (${error.code}). Start the service with npm start, or set HASTY_URL ` +
        'and HASTY_TOKEN for a service on another machine.',
      EXIT.usage,
    )
  })
  return content.trim().split(',')[0]!
}

function warnAboutPlainHttp({ url, isGiven }: ClientConfig) {
  const { protocol, hostname } = new URL(url)
  if (isGiven && protocol === 'http:' && !/^(127\.|localhost$|\[::1\])/.test(hostname))
    process.stderr.write(
      'HASTY_URL begins with http://, so the access token is sent unencrypted. Use https:// if the service has it.\n',
    )
}

async function request(url: string, token: string, name: keyof typeof paths, { id, query, body }: Given) {
  const [method, path] = paths[name]
  const target = new URL(url + path.replace('{id}', encodeURIComponent(id ?? '')))
  for (const [key, value] of Object.entries(query ?? {}))
    if (value !== undefined) target.searchParams.set(key, value)
  const response = await fetchOrFail(target, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw await toError(response)
  return response
}

/** Like `fetch`. Its error says which service does not answer. */
export async function fetchOrFail(target: URL | string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(target, init)
  } catch (error) {
    throw unreachable(target, (error as Error).cause ?? error)
  }
}

/** The error of a service that does not answer, from the error of its connection. */
export function unreachable(target: URL | string, error: unknown) {
  const { code, message } = error as { code?: string; message: string }
  return new CommandError(
    `${new URL(target).origin} does not answer (${code ?? message}). Check that the service runs, and HASTY_URL.`,
    EXIT.unreachable,
  )
}

/** The error of a response, in the words of its problem details (RFC 9457). */
export async function toError(response: Response): Promise<CommandError> {
  const problem = (await response.json().catch(() => ({}))) as Partial<Static<typeof Problem>>
  const { status } = response
  const { title = `The response has the status ${status}`, detail = '' } = problem
  const code =
    status === 401 || status === 403 ? EXIT.forbidden : status === 503 ? EXIT.unreachable : EXIT.failed
  return new CommandError(`${title}. ${detail}`.trim(), code)
}
