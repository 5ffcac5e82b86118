import auth from '@fastify/auth'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createTokenCheck, openAccessTokens } from '../services/access-tokens.ts'
import { TooManyTokens, Unauthorized } from '../services/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Lets a request with a valid access token pass. */
    verifyAdmin(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** The access token that this start has made, where none was set and none was kept. */
    madeAccessToken: string | undefined
  }
}

export default fp(
  async (app) => {
    await app.register(auth)
    const { tokens, made } = await openAccessTokens(app.config)
    const isValid = createTokenCheck(tokens)
    app.decorate('madeAccessToken', made)
    app.decorate('verifyAdmin', async (request, reply) => {
      const given = tokensOf(request)
      if (given.length > 1) throw new TooManyTokens()
      if (!given[0] || !isValid(given[0])) {
        reply.header('WWW-Authenticate', 'Bearer realm="hasty"') // RFC 9110 §11.6.1
        throw new Unauthorized()
      }
    })
  },
  { name: 'auth', dependencies: ['config'] },
)

function tokensOf({ headers }: FastifyRequest) {
  // Node joins a field that is sent twice by a comma, which no token has.
  const own = [headers['x-access-token'] ?? []].flat().flatMap((field) => field.split(','))
  const bearer = /^Bearer +(.+)$/i.exec(headers.authorization ?? '')?.[1]
  return [...own.map((token) => token.trim()), ...(bearer ? [bearer.trim()] : [])]
}
