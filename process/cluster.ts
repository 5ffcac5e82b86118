import cluster, { type Address } from 'node:cluster'
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { openDataStore } from '../stores/data/index.ts'
import { superviseChildren, superviseWorkers } from './children.ts'
import { createCollector } from './metrics/processes.ts'
import { watchApiProcesses, watchOwnEventLoop } from './watchdog.ts'

const SERVER = fileURLToPath(new URL('../server.ts', import.meta.url))

/**
 * Runs several API processes on one port, and the workers. This process serves no requests: it restarts the others, and
 * it holds the embedded database open, so that the database does not end with one of them.
 *
 * @returns the port, and a function that stops all processes
 * @throws {Error} if an API process can't start; that process has logged the reason
 */
export async function startCluster(
  config: Config,
  log: Logger,
): Promise<{ port: number; stop(): Promise<void> }> {
  const data = await openDataStore(config, { attach: false })
  // This serialization keeps NaN, the value of a metric that can't be read. JSON would make it 0.
  cluster.setupPrimary({ exec: SERVER, serialization: 'advanced' })
  const metrics = createCollector()
  watchOwnEventLoop('primary')
  watchApiProcesses(log)
  const listening = untilListening(config)
  const servers = superviseChildren(
    {
      name: 'API process',
      start() {
        const server = cluster.fork().process
        metrics.add(server)
        return server
      },
      requestExit: (server) => server.kill('SIGTERM'),
    },
    config.apiProcesses,
    log,
  )
  const { port } = await listening
  const workers = superviseWorkers(config.workerProcesses, log, metrics)
  return {
    port,
    async stop() {
      await servers.stop()
      await workers.stop()
      await data.close()
    },
  }
}

/** Resolves when all API processes listen. Rejects if one of them ends before. */
function untilListening({ apiProcesses, metricsPort }: Config) {
  const { promise, resolve, reject } = Promise.withResolvers<Address>()
  let listening = 0
  cluster.on('listening', (_worker, address) => {
    if (address.port !== metricsPort && ++listening === apiProcesses) resolve(address)
  })
  cluster.once('exit', (_worker, code, signal) =>
    reject(new Error(`An API process could not start (${signal ?? `exit code ${code}`}).`)),
  )
  return promise
}
