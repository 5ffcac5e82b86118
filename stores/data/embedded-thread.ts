// The thread of the embedded database: PGlite keeps an event loop busy while a query runs, so it gets one of its own.
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

const MAX_CONNECTIONS = 64
// PGlite's own 160 MB stay in memory for good, and its folder is in the page cache anyway.
const SETTINGS = ['shared_buffers = 32MB']

const { folder, socket } = workerData as { folder: string; socket?: string }
const database = await PGlite.create(folder, { postgresqlconf: SETTINGS })

if (socket) {
  const server = new PGLiteSocketServer({ db: database, path: socket, maxConnections: MAX_CONNECTIONS })
  await server.start()
  chmodSync(socket, 0o600)
  parentPort!.postMessage('open')
  await once(parentPort!, 'message')
  await server.stop()
}
await database.close()
process.exit(0)
