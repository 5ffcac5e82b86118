import type { OutgoingHttpHeaders } from 'node:http'
import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'

/**
 * Header fields for the responses of a scope: a browser must not run, frame or guess the type of their content. Images
 * set stricter fields themselves, and /docs sets a policy for its page. HSTS belongs to the server that terminates TLS,
 * because it applies to the whole host.
 */
export default fp(
  async (app) => {
    await app.register(helmet, {
      global: false,
      contentSecurityPolicy: {
        useDefaults: false,
        directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] },
      },
      xFrameOptions: { action: 'deny' },
      strictTransportSecurity: false,
    })
    // The fields are the same for every response. The plugin would build them each time.
    let fields: OutgoingHttpHeaders | undefined
    app.addHook('onRequest', (_request, reply, done) => {
      if (fields) reply.headers(fields)
      else {
        reply.helmet()
        fields = reply.raw.getHeaders()
      }
      done()
    })
  },
  { name: 'headers' },
)
