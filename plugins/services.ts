import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createAccesses } from '../services/accesses.ts'
import { createGuesses } from '../services/guesses.ts'
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
    app.addHook('onClose', async () => {
      await app.services.accesses.close()
      await app.services.guesses.close()
    })
  },
  { name: 'services', dependencies: ['config', 'stores', 'cache'] },
)

function createServices({ config, stores, cache }: FastifyInstance) {
  const links = createLinks({ data: stores.data, regions: stores.objects.regions, cache: cache.links })
  const accesses = createAccesses(stores.data, config)
  return {
    links,
    accesses,
    guesses: createGuesses(stores.data),
    uploads: createUploads({
      stores,
      links,
      knownHashes: cache.knownHashes,
      inlineLimit: config.inlineLimit,
      maxFileSize: config.maxFileSize,
      maxFiles: config.maxFiles,
      accept: config.accept,
      hideDuplicates: config.hideDuplicates,
    }),
    images: createImages({ stores, cache: cache.images, plans: cache.plans, bytes: cache.bytes, accesses }),
    stats: createStats(stores.data),
    readiness: createReadiness(stores),
  }
}
