import auth from '@fastify/auth'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Scope } from '../schemas/tokens.ts'
import { networksOf } from '../services/access/address.ts'
import { createPrincipals, type Principal, requireScopes } from '../services/access/principal.ts'
import { isStrongToken, openAccessTokens } from '../services/access/tokens.ts'
import { TooManyTokens, Unauthorized, WrongToken } from '../services/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Accepts a request whose access token is valid and has the scope of the route.
     *
     * @throws {Unauthorized | WrongToken | TooManyTokens | MissingScope}
     */
    verifyAdmin(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Whether a request may read private images: its access token is valid and has the scope `images:read`. */
    mayReadPrivate(request: FastifyRequest): Promise<boolean>
  }
  interface FastifyRequest {
    /** The admin who sent the request, after `verifyAdmin`. */
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
    const { tokens, made } = await openAccessTokens(app.config)
    if (made) app.log.info({ file: `${app.config.dataDir}/access-token` }, 'created an access token')
    refuseWeakTokens(tokens, app)
    const principalOf = createPrincipals({
      rootTokens: tokens,
      tokens: app.stores.data.tokens,
      cache: app.cache.principals,
    })
    app.decorateRequest('principal', null as unknown as Principal)
    app.decorate('mayReadPrivate', async (request) => {
      const [token, ...others] = tokensOf(request)
      const principal = token && others.length === 0 ? await principalOf(token) : undefined
      return principal?.scopes.has('images:read') ?? false
    })
    app.decorate('verifyAdmin', async (request, reply) => {
      const [token, ...others] = tokensOf(request)
      if (others.length > 0) throw new TooManyTokens()
      const principal = token ? await principalOf(token) : undefined
      if (!principal) {
        reply.header('WWW-Authenticate', 'Bearer realm="hasty"') // RFC 9110 §11.6.1
        throw token ? new WrongToken() : new Unauthorized()
      }
      request.principal = principal
      const { scope } = request.routeOptions.config
      if (scope) requireScopes(principal, [scope])
    })
  },
  { name: 'auth', dependencies: ['config', 'stores', 'cache'] },
)

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
