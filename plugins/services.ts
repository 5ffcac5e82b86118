import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import pkg from '../package.json' with { type: 'json' }
import { createAudit } from '../services/access/audit.ts'
import { createFailedLookups } from '../services/access/failed-lookups.ts'
import { createNamedTokens } from '../services/access/named-tokens.ts'
import { createRequeue } from '../services/analysis/requeue.ts'
import { createArchives } from '../services/images/archive.ts'
import { createImages } from '../services/images/index.ts'
import { createLastAccess } from '../services/images/last-access.ts'
import { createSignatures } from '../services/images/signatures.ts'
import { createLinks } from '../services/links/index.ts'
import { createPasswords } from '../services/links/passwords.ts'
import { createOperation } from '../services/operation.ts'
import { createReadiness } from '../services/readiness.ts'
import { createStats } from '../services/stats.ts'
import { createStorage } from '../services/storage.ts'
import { createUploads } from '../services/uploads/index.ts'
import { createVariants } from '../services/variants/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    services: ReturnType<typeof createServices>
  }
}

export default fp(
  async (app) => {
    app.decorate('services', createServices(app))
    app.addHook('onClose', async () => {
      await app.services.lastAccess.close()
      await app.services.failedLookups.close()
    })
  },
  { name: 'services', dependencies: ['config', 'stores', 'cache', 'image-reader', 'renderers'] },
)

// Each takes up to about 512 KiB of memory while it is received.
const MAX_UPLOADS = 512

function createServices({ config, stores, cache, imageReader, renderers, log }: FastifyInstance) {
  const links = createLinks({
    data: stores.data,
    regions: stores.objects.regions,
    cache: cache.links,
    publicUrl: config.publicUrl,
  })
  const failedLookups = createFailedLookups(stores.data)
  const passwords = createPasswords({ failedLookups, limit: config.failedLookupLimit })
  const lastAccess = createLastAccess(stores.data, config)
  const readiness = createReadiness(stores)
  const images = createImages({
    stores,
    cache: cache.images,
    plans: cache.plans,
    bytes: cache.bytes,
    lastAccess,
    servesOnlyVerified: config.servesOnlyVerified,
    servesOnlyPrivately: config.servesOnlyPrivately,
  })
  return {
    links,
    lastAccess,
    namedTokens: createNamedTokens(stores.data, cache.principals),
    audit: createAudit(stores.data),
    failedLookups,
    passwords,
    uploads: createUploads({
      stores,
      links,
      passwords,
      imageReader,
      knownHashes: cache.knownHashes,
      limits: {
        uploads: MAX_UPLOADS,
        uploadsPerLink: config.uploadsPerLink,
        uploadsPerAddress: config.uploadsPerAddress,
        // One file of the maximum size must always fit.
        stagedBytes: Math.max(config.stagedLimit, config.maxFileSize),
        stagedBytesPerLink: Math.max(config.stagedLimit / 2, config.maxFileSize),
      },
      inlineLimit: config.inlineLimit,
      maxFileSize: config.maxFileSize,
      maxFiles: config.maxFiles,
      resumeWithin: config.resumeWithin,
      resumableBytesPerLink: Math.max(4 * config.stagedLimit, config.maxFileSize),
      accept: config.accept,
      hideDuplicates: config.hideDuplicates,
    }),
    images,
    archives: createArchives({ data: stores.data, images }),
    variants: createVariants({
      stores,
      images,
      renderers,
      log,
      cache: cache.variants,
      bytes: cache.bytes,
      lastAccess,
      sizes: config.variantSizes,
    }),
    signatures: createSignatures({
      secrets: stores.data.secrets,
      signingKeys: config.signingKeys,
      variantKeys: config.variantKeys,
    }),
    requeue: createRequeue(stores),
    stats: createStats(stores.data),
    storage: createStorage(stores.data),
    operation: createOperation({ data: stores.data, readiness, version: pkg.version }),
    readiness,
  }
}
