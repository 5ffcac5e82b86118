import auth from '@fastify/auth'
import { parseCookie, stringifySetCookie } from 'cookie'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Scope } from '../schemas/tokens.ts'
import { networksOf } from '../services/access/address.ts'
import { isFromOwnPage } from '../services/access/origin.ts'
import { createPrincipals, type Principal, requireScopes } from '../services/access/principal.ts'
import { createSessions, SESSION_MS } from '../services/access/sessions.ts'
import { isStrongToken, openAccessTokens } from '../services/access/tokens.ts'
import { ForeignOrigin, Problem, TooManyTokens, Unauthorized, WrongToken } from '../services/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Finds the sender of a request by its access token, or else by the cookie of the console. Undefined if it has neither,
     * or its session has ended.
     *
     * @throws {TooManyTokens | WrongToken | ForeignOrigin}
     */
    findPrincipal(request: FastifyRequest): Promise<Principal | undefined>
    /**
     * Accepts a request that has a principal with the scope of the route.
     *
     * @throws {Unauthorized | WrongToken | TooManyTokens | MissingScope | ForeignOrigin}
     */
    verifyAdmin(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Whether a request may read private images: it has a principal with the scope `images:read`. */
    mayReadPrivate(request: FastifyRequest): Promise<boolean>
    /** Opens a session of the console, and sets its cookie. @throws {WrongToken | ForeignOrigin} */
    openSession(request: FastifyRequest, reply: FastifyReply, token: string): Promise<void>
    /** Ends the session of a request, if it has one, and deletes its cookie. */
    closeSession(request: FastifyRequest, reply: FastifyReply): Promise<void>
  }
  interface FastifyRequest {
    /** The admin who sent the request, after `verifyAdmin` or `openSession`. */
    principal: Principal
  }
  interface FastifyContextConfig {
    /** The scope that an admin needs for the route. */
    scope?: Scope
    /** Whether the audit log has the calls of the route. By default it has those that change something. */
    isAudited?: boolean
  }
}

export default fp(
  async (app) => {
    await app.register(auth)
    const { tokens: rootTokens, made } = await openAccessTokens(app.config)
    if (made) app.log.info({ file: `${app.config.dataDir}/access-token` }, 'created an access token')
    refuseWeakTokens(rootTokens, app)
    const { data } = app.stores
    const principals = createPrincipals({ rootTokens, tokens: data.tokens, cache: app.cache.principals })
    const sessions = createSessions({ data, principals, rootTokens })
    const { publicUrl, adminPages } = app.config
    const requireOwnPage = (request: FastifyRequest) => {
      if (!isFromOwnPage(originFields(request), publicUrl)) throw new ForeignOrigin()
    }

    app.decorateRequest('principal', null as unknown as Principal)
    app.decorate('findPrincipal', async (request) => {
      const [token, ...others] = tokensOf(request)
      if (others.length > 0) throw new TooManyTokens()
      if (token) {
        const principal = await principals.ofToken(token)
        if (!principal) throw new WrongToken()
        return principal
      }
      const secret = adminPages ? secretOf(app, request) : undefined
      if (!secret) return undefined
      requireOwnPage(request)
      return sessions.find(secret)
    })
    app.decorate('mayReadPrivate', async (request) => {
      const principal = await app.findPrincipal(request).catch((error) => {
        if (error instanceof Problem) return undefined
        throw error
      })
      return principal?.scopes.has('images:read') ?? false
    })
    app.decorate('verifyAdmin', async (request, reply) => {
      request.principal = await challenge(reply, async () => {
        const principal = await app.findPrincipal(request)
        if (!principal) throw new Unauthorized()
        return principal
      })
      const { scope } = request.routeOptions.config
      if (scope) requireScopes(request.principal, [scope])
    })
    app.decorate('openSession', async (request, reply, token) => {
      // A program sends neither field, and no cookie of a browser.
      const { origin, secFetchSite } = originFields(request)
      if (origin ?? secFetchSite) requireOwnPage(request)
      const { principal, secret } = await challenge(reply, () => sessions.open(token))
      request.principal = principal
      setCookie(app, request, reply, { value: secret, maxAge: SESSION_MS / 1000 })
    })
    app.decorate('closeSession', async (request, reply) => {
      const { session } = request.principal
      if (session) await sessions.close(session.id)
      setCookie(app, request, reply, { value: '', maxAge: 0 })
    })
  },
  { name: 'auth', dependencies: ['config', 'stores', 'cache'] },
)

/** Finds a principal. If there is none, the response states how a client authenticates (RFC 9110 §11.6.1). */
async function challenge<Found>(reply: FastifyReply, find: () => Promise<Found>): Promise<Found> {
  try {
    return await find()
  } catch (error) {
    if (error instanceof Unauthorized) reply.header('WWW-Authenticate', 'Bearer realm="hasty"')
    throw error
  }
}

const COOKIE = 'hasty-session'

/** The cookie of the console for a request. Its path is that of PUBLIC_URL, because private images need it too. */
function cookieFor({ config: { publicUrl } }: FastifyInstance, { protocol }: FastifyRequest) {
  const secure = protocol === 'https' || publicUrl.startsWith('https:')
  const path = publicUrl ? new URL(`${publicUrl}/`).pathname : '/'
  // A browser accepts these prefixes only over TLS, and the first one only from the host itself (RFC 6265bis §4.1.3). So
  // another host of the domain cannot set a session.
  const prefix = path === '/' ? '__Host-' : '__Secure-'
  return { name: secure ? prefix + COOKIE : COOKIE, path, secure }
}

function setCookie(
  app: FastifyInstance,
  request: FastifyRequest,
  reply: FastifyReply,
  value: { value: string; maxAge: number },
) {
  const cookie = { ...cookieFor(app, request), ...value }
  reply.header('Set-Cookie', stringifySetCookie({ ...cookie, httpOnly: true, sameSite: 'strict' }))
}

/** Only the cookie that this service would set: a cookie without the prefix may be from another host, or not from TLS. */
function secretOf(app: FastifyInstance, request: FastifyRequest) {
  const { cookie } = request.headers
  return cookie?.includes(COOKIE) ? parseCookie(cookie)[cookieFor(app, request).name] : undefined
}

const originFields = ({ method, headers, host }: FastifyRequest) => ({
  method,
  host,
  origin: headers.origin,
  secFetchSite: headers['sec-fetch-site'] as string | undefined,
})

/**
 * A weak token can be guessed. It is accepted only while no other machine can connect.
 *
 * @throws {Error} a token is weak, and HOST is not a loopback address
 */
function refuseWeakTokens(tokens: string[], { config: { host }, log }: FastifyInstance) {
  if (tokens.every(isStrongToken)) return
  const fault = 'An access token has fewer than 128 bits. To create one, run: openssl rand -hex 24'
  const isLocal = host === 'localhost' || networksOf(host).includes('127.0.0.1')
  if (!isLocal)
    throw new Error(`HOST is ${host}, and weak tokens are accepted only on a loopback address. ${fault}`)
  log.warn(fault)
}

/**
 * The different tokens of a request. Generated clients send the same token in both header fields. If a field occurs
 * twice, Node's `headers` drops or joins the second value, so the raw fields are read.
 */
function tokensOf({ raw: { rawHeaders } }: FastifyRequest): Set<string> {
  const tokens = rawHeaders.flatMap((name, n) => {
    const value = rawHeaders[n + 1] ?? ''
    if (n % 2 === 1) return []
    switch (name.toLowerCase()) {
      case 'x-access-token':
        return value.split(',')
      case 'authorization':
        return /^Bearer +(.+)$/i.exec(value)?.[1] ?? []
      default:
        return []
    }
  })
  return new Set(tokens.map((token) => token.trim()).filter((token) => token !== ''))
}
