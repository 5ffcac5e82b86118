import fp from 'fastify-plugin'
import { type Supervisor, superviseWorkers } from '../process/children.ts'

/** Runs worker processes beside the service, and stops them before the stores are closed. */
export default fp(
  async (app) => {
    let workers: Supervisor | undefined
    app.addHook('onReady', async () => {
      workers = superviseWorkers(app.config.workerProcesses, app.log, app.childMetrics)
    })
    app.addHook('onClose', () => workers?.stop())
  },
  { name: 'worker', dependencies: ['config', 'stores', 'observability'] },
)
