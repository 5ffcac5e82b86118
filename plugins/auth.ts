import auth from '@fastify/auth'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createTokenCheck, openAccessTokens } from '../services/access/tokens.ts'
import { TooManyTokens, Unauthorized, WrongToken } from '../services/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Lets a request with a valid access token pass. */
    verifyAdmin(request: FastifyRequest, reply: FastifyReply): Promise<void>
  }
}

export default fp(
  async (app) => {
    await app.register(auth)
    const { tokens } = await openAccessTokens(app.config)
    const isValid = createTokenCheck(tokens)
    app.decorate('verifyAdmin', async (request, reply) => {
      const given = tokensOf(request)
      if (given.length > 1) throw new TooManyTokens()
      if (!given[0] || !isValid(given[0])) {
        reply.header('WWW-Authenticate', 'Bearer realm="hasty"') // RFC 9110 §11.6.1
        throw given[0] ? new WrongToken() : new Unauthorized()
      }
    })
  },
  { name: 'auth', dependencies: ['config'] },
)

/** All tokens that a request has; of a field that comes twice Node's `headers` would drop or join the second. */
function tokensOf({ raw: { rawHeaders } }: FastifyRequest) {
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
  return tokens.map((token) => token.trim()).filter((token) => token !== '')
}
