import fp from 'fastify-plugin'
import { type Children, superviseWorkers } from '../process/children.ts'

/** Keeps worker processes running beside the service, and ends them before the stores are closed. */
export default fp(
  async (app) => {
    let workers: Children | undefined
    app.addHook('onReady', async () => {
      workers = superviseWorkers(app.config.workerProcesses, app.log)
    })
    app.addHook('onClose', () => workers?.end())
  },
  { name: 'worker', dependencies: ['config', 'stores'] },
)
