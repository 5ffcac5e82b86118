// The thread of the embedded database: PGlite keeps an event loop busy while a query runs, so it gets one of its own.
import { chmodSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

const MAX_CONNECTIONS = 64

const { folder, socket } = workerData as { folder: string; socket: string }
const database = await PGlite.create(folder)
const server = new PGLiteSocketServer({ db: database, path: socket, maxConnections: MAX_CONNECTIONS })
await server.start()
chmodSync(socket, 0o600)
parentPort!.postMessage('open')

parentPort!.once('message', async () => {
  await server.stop()
  await database.close()
  process.exit(0)
})
