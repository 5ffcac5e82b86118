import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { Unavailable } from '../services/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Announces the stop of this process, and resolves after `delay` milliseconds. From now on every request is served,
     * but `/readyz` responds with 503, and each response closes its connection. So proxies have no open connection to
     * this process when it stops.
     */
    announceStop(delay: number): Promise<void>
    /** Resolves if requests can be served. @throws {Unavailable} */
    checkReady(): Promise<void>
  }
}

export default fp(
  async (app) => {
    let isStopping = false
    app.decorate('announceStop', async (delay: number) => {
      isStopping = true
      await sleep(delay)
    })
    app.decorate('checkReady', async () => {
      if (isStopping) throw new Unavailable({ detail: 'The process stops.' })
      await app.services.readiness.check()
    })
    app.addHook('preClose', async () => {
      isStopping = true
    })
    app.addHook('onRequest', (_request, reply, done) => {
      if (isStopping) reply.raw.setHeader('Connection', 'close')
      done()
    })
  },
  { name: 'stopping', dependencies: ['config', 'errors'] },
)
