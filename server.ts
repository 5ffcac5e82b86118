import cluster from 'node:cluster'
import type { AddressInfo } from 'node:net'
import { buildApp } from './app.ts'
import worker from './plugins/worker.ts'
import { startCluster } from './process/cluster.ts'
import { serveOperations } from './process/metrics/server.ts'
import { run } from './process/run.ts'
import { QUEUE_LENGTH, stopListening } from './process/stop-listening.ts'
import { isTerminal, printStart, printStarting } from './process/terminal.ts'
import { answerPings, watchOwnEventLoop } from './process/watchdog.ts'

await run('server', async (config, log) => {
  if (isTerminal() && !cluster.isWorker) printStarting()
  if (config.apiProcesses > 1 && cluster.isPrimary) {
    const { port, stop } = await startCluster(config, log)
    if (isTerminal()) printStart(config, port)
    return stop
  }
  if (cluster.isWorker) answerPings()
  else watchOwnEventLoop('server')
  const operations = config.metricsPort
    ? await serveOperations({ host: config.host, port: config.metricsPort })
    : undefined
  const app = buildApp(config, log)
  if (config.workerProcesses > 0 && !cluster.isWorker) app.register(worker)
  await app.ready()
  // In a terminal, the summary replaces Fastify's line about the address.
  if (isTerminal()) log.level = 'warn'
  await app.listen({ host: config.host, port: config.port, backlog: QUEUE_LENGTH })
  log.level = config.logLevel
  operations?.started(app)
  if (isTerminal() && !cluster.isWorker) printStart(config, (app.server.address() as AddressInfo).port)
  return async (signal) => {
    // A person who presses Ctrl-C does not want to wait.
    await app.announceStop(signal === 'SIGTERM' ? config.stopDelay : 0)
    await stopListening(app.server)
    await app.close()
    await operations?.close()
  }
})
