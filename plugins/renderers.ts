import fp from 'fastify-plugin'
import { createRenderers, type Renderers, rendererLimits } from '../services/variants/renderers.ts'

declare module 'fastify' {
  interface FastifyInstance {
    renderers: Renderers
  }
}

export interface RenderersOptions {
  /** Processes that the caller closes, for tests. */
  renderers?: Renderers
}

/** Makes variants in sandboxed processes. They start at the first request. */
export default fp<RenderersOptions>(
  async (app, { renderers }) => {
    app.decorate('renderers', renderers ?? createRenderers(rendererLimits(app.config.apiProcesses)))
    if (!renderers) app.addHook('onClose', () => app.renderers.close())
  },
  { name: 'renderers', dependencies: ['config'] },
)
