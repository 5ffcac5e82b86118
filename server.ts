import cluster from 'node:cluster'
import { buildApp } from './app.ts'
import worker from './plugins/worker.ts'
import { runCluster } from './process/cluster.ts'
import { run } from './process/run.ts'

const IDLE_CHECK_MS = 250

await run('server', async (config, log) => {
  const isClustered = config.apiProcesses > 1
  if (isClustered && cluster.isPrimary) return runCluster(config, log)
  const app = buildApp(config, log)
  if (config.workerProcesses > 0 && !isClustered) app.register(worker)
  await app.listen({ host: config.host, port: config.port })
  if (app.madeAccessToken) {
    // Not by the log, which is kept: this is the one time that it is shown.
    process.stdout.write(
      `\n  The access token is ${app.madeAccessToken}\n  It is kept in ${config.dataDir}/access-token.\n\n`,
    )
  }
  return async () => {
    // Fastify closes the connections that are idle when it begins. One that becomes so later would be waited for.
    const closing = setInterval(() => app.server.closeIdleConnections(), IDLE_CHECK_MS)
    await app.close().finally(() => clearInterval(closing))
  }
})
