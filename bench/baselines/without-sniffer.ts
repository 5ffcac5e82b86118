// Loaded before server.ts: replaces services/uploads/sniffer.ts with no-sniffer.ts.
import { registerHooks } from 'node:module'

const SNIFFER = new URL('../../services/uploads/sniffer.ts', import.meta.url).href
const NO_SNIFFER = new URL('./no-sniffer.ts', import.meta.url).href

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    return resolved.url === SNIFFER ? { ...resolved, url: NO_SNIFFER } : resolved
  },
})
