import cors from '@fastify/cors'
import fp from 'fastify-plugin'

const PREFLIGHT_SECONDS = 600

/**
 * Allows pages of the origins in CORS_ORIGIN to upload by a link and to read images
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). The admin's calls are never allowed: a page must not hold an
 * access token.
 */
export default fp(
  async (app) => {
    const { corsOrigins } = app.config
    if (corsOrigins.length === 0) return
    const allowed = {
      origin: corsOrigins.includes('*') ? '*' : corsOrigins,
      methods: ['GET', 'HEAD', 'POST'],
      exposedHeaders: ['Content-Range', 'ETag', 'Retry-After'],
      maxAge: PREFLIGHT_SECONDS,
      strictPreflight: false, // its refusal would not be problem details (RFC 9457)
    }
    await app.register(cors, {
      delegator: ({ url }, done) =>
        done(null, /^\/(uploads|images)\//.test(url) ? allowed : { origin: false }),
    })
  },
  { name: 'cors', dependencies: ['config', 'errors'] },
)
