import fp from 'fastify-plugin'
import type { Principal } from '../services/access/principal.ts'
import { type Cache, createCache } from '../services/cache.ts'
import { type ByteCache, createByteCache } from '../services/images/byte-cache.ts'
import { createPlans, type Plans } from '../services/images/plans.ts'
import type { Servable } from '../services/images/representation.ts'
import type { ServableVariant } from '../services/variants/index.ts'
import type { LinkRow } from '../stores/data/interfaces/links.ts'

declare module 'fastify' {
  interface FastifyInstance {
    cache: Caches
  }
}

/** The caches of this process. They save requests to the database and the object store. */
export interface Caches {
  links: Cache<LinkRow>
  images: Cache<Servable>
  /** The principals of named tokens, by the hash of the token. */
  principals: Cache<Principal>
  /** The ids of images by region and hash. */
  knownHashes: Cache<string>
  variants: Cache<ServableVariant>
  plans: Plans
  /** The bytes of small images that are requested often. They are served only while `images` allows it. */
  bytes: ByteCache
}

// A change by another process is seen within this time. The documents promise 5 s.
const TTL_MS = 4_000
const HINT_TTL_MS = 60 * 60_000
const BYTES_CAPACITY = 64 * 2 ** 20
const PLANS_CAPACITY = 16 * 2 ** 20

export default fp(
  async (app) => {
    app.decorate('cache', {
      links: createCache<LinkRow>({ capacity: 10_000, ttl: TTL_MS }),
      images: createCache<Servable>({ capacity: 10_000, ttl: TTL_MS }),
      principals: createCache<Principal>({ capacity: 1_000, ttl: TTL_MS }),
      variants: createCache<ServableVariant>({ capacity: 20_000, ttl: TTL_MS }),
      // The database checks each hint, so it may be old.
      knownHashes: createCache<string>({ capacity: 100_000, ttl: HINT_TTL_MS }),
      // The bytes of an image never change, so a plan and the bytes do not expire.
      plans: createPlans({ capacity: PLANS_CAPACITY }),
      bytes: createByteCache({ capacity: BYTES_CAPACITY }),
    })
  },
  { name: 'cache' },
)
