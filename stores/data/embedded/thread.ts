// The thread of the embedded database: PGlite blocks its event loop while a query runs, so it has a separate one. Without a
// socket, it creates a database in the folder, and ends.
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { PGLiteSocketHandler } from '@electric-sql/pglite-socket'
import { assertPgliteVersion, DURABLE_START, DurableFiles } from './durable-files.ts'
import { protectAndFlushTree } from './flush.ts'
import { createSessionQueue } from './session-queue.ts'

// Enough for all API processes and workers, with four connections each.
const MAX_CONNECTIONS = 1024
// PGlite's default of 160 MB is never released, and the page cache has the files of its folder anyway.
const SETTINGS = ['shared_buffers = 32MB']
// PGlite's POSTGRES_MAIN_LONGJMP: PostgreSQL continues after an ERROR with an exception of this status.
const ERROR_STATUS = 100

const { folder, socket } = workerData as { folder: string; socket?: string }
assertPgliteVersion()
const database = await PGlite.create({
  fs: new DurableFiles(folder),
  startParams: DURABLE_START,
  postgresqlconf: SETTINGS,
})
endWithBackend(database)
if (socket) await serve(socket)
await database.close()
// PGlite copies the first files of a new database to the folder without flushing them, and everybody may read them.
if (!socket) protectAndFlushTree(folder)
process.exit(0)

/** Serves the database on a socket, until the thread gets a message to end. */
async function serve(socket: string) {
  const queryQueue = createSessionQueue(database)
  const handlers = new Set<PGLiteSocketHandler>()
  const server = createServer((connection) => {
    const handler = new PGLiteSocketHandler({ queryQueue, closeOnDetach: true })
    handlers.add(handler)
    connection.once('close', () => handlers.delete(handler))
    handler.attach(connection)
  })
  server.maxConnections = MAX_CONNECTIONS
  server.listen(socket)
  await once(server, 'listening')
  chmodSync(socket, 0o600)
  parentPort!.postMessage('open')
  await once(parentPort!, 'message')
  server.close()
  await Promise.all([...handlers].map((handler) => handler.detach(true)))
}

/**
 * Ends the thread when PostgreSQL's backend has ended by a FATAL or a PANIC, for example because its disk is full. PGlite
 * would call that backend again for ever, or continue with the invalid contents of its memory
 * (https://github.com/electric-sql/pglite/issues/1058).
 */
function endWithBackend({ Module }: PGlite) {
  for (const name of ['_PostgresMainLoopOnce', '_PostgresMainLongJmp'] as const) {
    const run = Module[name]
    Module[name] = () => {
      try {
        run()
      } catch (error) {
        if ((error as { status?: number }).status !== ERROR_STATUS) process.exit(1)
        throw error
      }
    }
  }
}
