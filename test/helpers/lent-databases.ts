// node test/helpers/lent-databases.ts SOCKET: opens empty embedded databases and lends them to the test files of a run.
//
// A test file would need a second of CPU time to open a database. PGlite serves one database only.
// A client that connects to SOCKET gets a line with the path of a database's socket. It has that database until it disconnects.
// Then the rows are removed, and the next file gets the database. If no file has one for some seconds, the process ends.
import { on, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import postgres from 'postgres'
import { copyDatabase, emptyDatabase } from './embedded.ts'

const THREAD = fileURLToPath(new URL('../../stores/data/embedded/thread.ts', import.meta.url))
const IDLE_MS = 5_000

const [path] = process.argv.slice(2) as [string]
const folder = mkdtempSync(join(tmpdir(), 'hasty-test-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))

const idle: string[] = []
let opened = 0
let borrowers = 0
let ending = setTimeout(stop, IDLE_MS)

const server = createServer(async (borrower) => {
  clearTimeout(ending)
  borrowers++
  borrower.on('error', () => {})
  borrower.resume()
  const returned = once(borrower, 'close')
  const socket = idle.pop() ?? (await openDatabase())
  borrower.write(`${socket}\n`)
  await returned
  await renew(socket).then(
    () => idle.push(socket),
    (error) => process.emitWarning(error),
  )
  borrowers--
  if (borrowers === 0) ending = setTimeout(stop, IDLE_MS)
})
// Of two processes that start together, one lends. One that was killed leaves its socket.
server.on('error', async () => {
  if (await isServed()) process.exit()
  rmSync(path, { force: true })
  server.listen(path)
})
server.listen(path)

async function isServed() {
  const connection = createConnection(path)
  return once(connection, 'connect')
    .then(() => true)
    .catch(() => false)
    .finally(() => connection.destroy())
}

/** Ends the process. Its socket is removed by its end. */
function stop() {
  server.close()
  process.exit()
}

async function openDatabase() {
  const dataDir = join(folder, String(opened++))
  await copyDatabase(dataDir)
  const socket = join(dataDir, 'db.sock')
  const thread = new Worker(THREAD, { workerData: { folder: join(dataDir, 'db'), socket } })
  // Only its own test fails. It cannot be renewed, so it is not lent again.
  thread.on('error', (error) => process.emitWarning(error as Error))
  // Modules that tap loads into every thread may send other messages before.
  for await (const [message] of on(thread, 'message')) if (message === 'open') break
  return socket
}

/** Makes a database like a new one for the next file: without rows, settings of the session, and deleted rows in its files. */
async function renew(socket: string) {
  await emptyDatabase(socket)
  const sql = postgres({ path: socket, user: 'postgres', database: 'postgres', max: 1 })
  await sql.unsafe('discard all')
  await sql.unsafe('vacuum')
  await sql.end()
}
