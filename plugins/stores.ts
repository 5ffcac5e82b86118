import fp from 'fastify-plugin'
import { openStores, type Stores } from '../stores/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    stores: Stores
  }
}

export default fp(
  async (app) => {
    // With several API processes, the primary process opens the embedded database and they connect to it.
    const stores = await openStores(app.config, { attach: app.config.apiProcesses > 1 })
    app.decorate('stores', stores)
    app.addHook('onClose', () => stores.close())
  },
  { name: 'stores', dependencies: ['config'] },
)
