import fp from 'fastify-plugin'
import { openStores, type Stores } from '../stores/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    stores: Stores
  }
}

export interface StoresOptions {
  /** Whether another process or thread may have the embedded database open. Tests share one. */
  attach?: boolean
}

export default fp<StoresOptions>(
  async (app, { attach }) => {
    // With several API processes, the primary process opens the embedded database and they connect to it.
    const stores = await openStores(app.config, { attach: attach ?? app.config.apiProcesses > 1 })
    app.decorate('stores', stores)
    app.addHook('onClose', () => stores.close())
  },
  { name: 'stores', dependencies: ['config'] },
)
