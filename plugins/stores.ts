import fp from 'fastify-plugin'
import { openStores, type Stores } from '../stores/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    stores: Stores
  }
}

export default fp(
  async (app) => {
    const stores = await openStores(app.config, { attach: false })
    app.decorate('stores', stores)
    app.addHook('onClose', () => stores.close())
  },
  { name: 'stores', dependencies: ['config'] },
)
