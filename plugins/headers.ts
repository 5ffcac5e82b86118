import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'

/**
 * Header fields that keep a browser from doing anything with the answers of a scope but read them. Images have stricter
 * ones of their own, and /docs a policy that lets its page work. HSTS is for who ends TLS: it is of a whole host, and not of a service.
 */
export default fp(
  async (app) => {
    await app.register(helmet, {
      contentSecurityPolicy: {
        useDefaults: false,
        directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] },
      },
      xFrameOptions: { action: 'deny' },
      strictTransportSecurity: false,
    })
  },
  { name: 'headers' },
)
