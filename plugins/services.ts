import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createImages } from '../services/images.ts'
import { createLinks } from '../services/links.ts'
import { createReadiness } from '../services/readiness.ts'
import { createStats } from '../services/stats.ts'
import { createUploads } from '../services/uploads.ts'

declare module 'fastify' {
  interface FastifyInstance {
    services: ReturnType<typeof createServices>
  }
}

export default fp(
  async (app) => {
    app.decorate('services', createServices(app))
  },
  { name: 'services', dependencies: ['config', 'stores', 'cache'] },
)

function createServices({ config, stores, cache }: FastifyInstance) {
  const links = createLinks({ data: stores.data, cache: cache.links })
  return {
    links,
    uploads: createUploads({
      stores,
      links,
      knownHashes: cache.knownHashes,
      inlineLimit: config.inlineLimit,
      accept: config.accept,
    }),
    images: createImages({ stores, cache: cache.images, plans: cache.plans }),
    stats: createStats(stores.data),
    readiness: createReadiness(stores),
  }
}
