import fp from 'fastify-plugin'
import type { Plan } from '../formats/strip/plan.ts'
import { type ByteCache, type Cache, createByteCache, createCache } from '../services/cache.ts'
import type { LinkRow, ServedRow } from '../stores/data/data-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    cache: Caches
  }
}

/** The caches of this process, which save queries to the database. */
export interface Caches {
  links: Cache<LinkRow>
  images: Cache<ServedRow>
  /** Image ids by hash. */
  knownHashes: Cache<string>
  /** Plans for serving images without their metadata, by image id. */
  plans: Cache<Promise<Plan>>
  /** The bytes of small images that are requested often. `images` decides whether they may be served. */
  bytes: ByteCache
}

// A link revoked or an image removed by another process is noticed within this time. The documented limit is 5 s.
const TTL_MS = 4_000
const HINT_TTL_MS = 60 * 60_000
const CACHED_BYTES = 64 * 2 ** 20

export default fp(
  async (app) => {
    app.decorate('cache', {
      links: createCache<LinkRow>({ capacity: 10_000, ttl: TTL_MS }),
      images: createCache<ServedRow>({ capacity: 10_000, ttl: TTL_MS }),
      // A hint is checked before it is used, so it may be outdated.
      knownHashes: createCache<string>({ capacity: 100_000, ttl: HINT_TTL_MS }),
      // The bytes of an image never change.
      plans: createCache<Promise<Plan>>({ capacity: 1_000, ttl: HINT_TTL_MS }),
      bytes: createByteCache({ capacity: CACHED_BYTES }),
    })
  },
  { name: 'cache' },
)
