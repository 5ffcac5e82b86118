import cluster from 'node:cluster'
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { openDataStore } from '../stores/data/index.ts'
import { superviseChildren, superviseWorkers } from './children.ts'
import { answerForAll } from './cluster-metrics.ts'

const SERVER = fileURLToPath(new URL('../server.ts', import.meta.url))

/**
 * Runs several API processes on one port, and the workers beside them. This process serves nobody: it keeps the others
 * running, and has the embedded database open, so that none of them takes it along when it dies.
 *
 * @returns what stops all of it
 * @throws {Error} one of the API processes could not start; it has told why
 */
export async function runCluster(config: Config, log: Logger): Promise<() => Promise<void>> {
  const data = await openDataStore(config, { attach: false })
  cluster.setupPrimary({ exec: SERVER })
  answerForAll()
  const listening = untilListening(config.apiProcesses)
  const servers = superviseChildren(
    { name: 'API process', start: () => cluster.fork().process, ask: (server) => server.kill('SIGTERM') },
    config.apiProcesses,
    log,
  )
  await listening
  const workers = superviseWorkers(config.workerProcesses, log)
  return async () => {
    await servers.end()
    await workers.end()
    await data.close()
  }
}

/** Resolves when so many of the API processes listen, and rejects where one ends before. */
function untilListening(count: number) {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let listening = 0
  cluster.on('listening', () => ++listening === count && resolve())
  cluster.once('exit', (_worker, code, signal) =>
    reject(new Error(`an API process could not start (${signal ?? code})`)),
  )
  return promise
}
