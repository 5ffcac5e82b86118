import type { OutgoingHttpHeaders } from 'node:http'
import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'

/**
 * Header fields that keep a browser from doing anything with the answers of a scope but read them. Images have stricter
 * ones of their own, and /docs a policy that lets its page work. HSTS is for who ends TLS: it is of a whole host, and not of a service.
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
    // The same for every answer: the plugin would put them together for each.
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
