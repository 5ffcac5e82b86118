// node --import test/helpers/attach-database.ts server.ts: the server uses a database that another process has opened, like a
// worker. See `lendDatabase`.
import { registerHooks } from 'node:module'
import type { Embedded } from '../../stores/data/embedded/index.ts'

const EMBEDDED = new URL('../../stores/data/embedded/index.ts', import.meta.url).href

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context)
    const isOpened = resolved.url === EMBEDDED && context.parentURL !== import.meta.url
    return isOpened ? { ...resolved, url: import.meta.url } : resolved
  },
})

/** Replaces the function of this name: it attaches to the open database. */
export async function openEmbedded(dataDir: string): Promise<Embedded> {
  const embedded = await import('../../stores/data/embedded/index.ts')
  return embedded.openEmbedded(dataDir, { attach: true })
}
