import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { on, once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { warnWhenSlow } from '../warn-when-slow.ts'
import { flush } from './flush.ts'

/** The folder of the embedded database is open in another process. */
export class DataDirInUse extends Error {
  override name = 'DataDirInUse'
}

/** The embedded database, served on a socket. */
export interface Embedded {
  /** The path of a Unix socket that speaks PostgreSQL's protocol. */
  path: string
  close(): Promise<void>
}

const THREAD = fileURLToPath(new URL('./thread.ts', import.meta.url))
const CREATOR = fileURLToPath(new URL('./creator.ts', import.meta.url))

// The address of a socket (sockaddr_un) has 108 bytes on Linux and 104 on macOS and the BSDs, including the final NUL.
const SOCKET_PATH_BYTES = 103

// The creation of a database takes seconds.
const ATTACH_TIMEOUT_MS = 60_000
const POLL_MS = 50
const LOCK_TIMEOUT_MS = 100
const REOPEN_MS = 1_000

/**
 * Opens the embedded database in `dataDir` and serves it on a Unix socket in that folder.
 *
 * PGlite does not lock its folder, so this function does. With `attach`, another process may have locked the folder: then
 * the socket of that process is used when it accepts connections.
 *
 * @throws {DataDirInUse} another process has locked the folder; with `attach`, its socket accepts no connection in 60 s
 */
export async function openEmbedded(dataDir: string, { attach }: { attach: boolean }): Promise<Embedded> {
  const created = mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  if (created) flush(dirname(created))
  const socket = shortPath(dataDir, 'db.sock')
  const lock = await lockOrAttach(dataDir, socket.path, { attach }).catch((error) => {
    socket.remove()
    throw error
  })
  if (lock === 'attached') return { path: socket.path, close: async () => socket.remove() }

  const release = () => {
    socket.remove()
    lock.release()
  }
  try {
    const folder = join(dataDir, 'db')
    if (!existsSync(folder)) await create(dataDir, folder)
    const served = await serve({ folder, socket: socket.path })
    return {
      path: socket.path,
      async close() {
        await served.close()
        release()
      },
    }
  } catch (error) {
    release()
    throw new Error(`the embedded database in ${dataDir} can't be opened`, { cause: error })
  }
}

/** Locks the folder. With `attach`, resolves with `attached` when the process that has the lock accepts connections. */
async function lockOrAttach(
  dataDir: string,
  socketPath: string,
  { attach }: { attach: boolean },
): Promise<{ release(): void } | 'attached'> {
  const deadline = Date.now() + (attach ? ATTACH_TIMEOUT_MS : 0)
  for (;;) {
    if (attach && (await acceptsConnections(socketPath))) return 'attached'
    const lock = takeLock(dataDir)
    if (lock) return lock
    if (Date.now() >= deadline) {
      const advice = attach
        ? 'It accepts no connection to its database: stop it.'
        : 'Stop that process, or set another DATA_DIR for this one.'
      throw new DataDirInUse(
        `DATA_DIR ${dataDir} is in use by another Hasty (process ${holderOf(dataDir)}). ${advice}`,
      )
    }
    await sleep(POLL_MS)
  }
}

/**
 * Creates the database in a temporary folder and renames the folder at the end. If the process is killed before, there is
 * no database. A separate process creates it, because a thread would leave 70 MB of memory allocated.
 */
async function create(dataDir: string, folder: string) {
  for (const name of readdirSync(dataDir)) {
    if (name.startsWith('db.new')) rmSync(join(dataDir, name), { recursive: true, force: true })
  }
  // The name is random: after a kill, the creating process may still write to its own folder.
  const draft = join(dataDir, `db.new-${randomUUID()}`)
  const [code] = await warnWhenSlow('Creating the embedded database', once(fork(CREATOR, [draft]), 'exit'))
  if (code !== 0) throw new Error(`the process that creates the embedded database ended with ${code}`)
  renameSync(draft, folder)
  flush(dataDir)
}

/**
 * Serves the database in a thread until it is closed. If the thread ends before, it is started again and recovers the
 * database like after a kill. This happens after an error that ends PostgreSQL, for example a full disk. Until the thread
 * has started, nothing listens on the socket.
 */
async function serve(database: { folder: string; socket: string }) {
  let thread = startThread(database)
  let closing = false
  await thread.open
  const closed = keepOpen()

  async function keepOpen() {
    for (;;) {
      const failure = await thread.ended
      if (closing && failure) throw failure
      if (closing) return
      process.emitWarning(
        `The embedded database has ended (${failure?.message}), and is opened again. Check the free space on its disk.`,
      )
      await sleep(REOPEN_MS)
      if (closing) return
      thread = startThread(database)
    }
  }

  return {
    close() {
      closing = true
      thread.close()
      return closed
    },
  }
}

/** Starts the thread of the database. `open` resolves when it accepts connections, `ended` with its error, if any. */
function startThread(workerData: { folder: string; socket: string }) {
  rmSync(workerData.socket, { force: true })
  const thread = new Worker(THREAD, { workerData })
  const ended = new Promise<Error | undefined>((resolve) => {
    let failure: Error | undefined
    thread.once('error', (error: Error) => {
      failure = error
    })
    thread.once('exit', (code) => {
      if (code !== 0) failure ??= new Error(`its thread ended with ${code}`)
      resolve(failure)
    })
  })
  const failed = ended.then((failure) => Promise.reject(failure))
  const open = warnWhenSlow('Opening the embedded database', Promise.race([untilOpen(thread), failed]))
  // Without a caller that waits for `open`, `ended` reports the error.
  open.catch(() => {})
  return { open, ended, close: () => thread.postMessage('close') }
}

/** Resolves at the message `open`. Modules that tests load into every thread may send other messages before. */
async function untilOpen(thread: Worker) {
  for await (const [message] of on(thread, 'message')) if (message === 'open') return
}

/**
 * Locks the folder for this process. Undefined if another process has locked it.
 *
 * The lock is SQLite's exclusive lock on a file. The kernel releases it when the process ends for any reason.
 */
function takeLock(dataDir: string) {
  // If two processes try at the same moment, one waits, and the other one gives up.
  const database = new DatabaseSync(join(dataDir, 'db.lock'), { timeout: LOCK_TIMEOUT_MS })
  try {
    database.exec('begin exclusive')
  } catch (error) {
    database.close()
    if ((error as { errcode?: number }).errcode === 5) return undefined // SQLITE_BUSY
    throw error
  }
  writeFileSync(join(dataDir, 'db.pid'), `${process.pid}\n`)
  return { release: () => database.close() }
}

/** Whether a process listens on the socket. A process that was killed leaves a socket without a listener. */
async function acceptsConnections(path: string) {
  const connection = createConnection(path)
  try {
    await once(connection, 'connect')
    return true
  } catch {
    return false
  } finally {
    connection.destroy()
  }
}

function holderOf(dataDir: string) {
  try {
    return readFileSync(join(dataDir, 'db.pid'), 'utf8').trim()
  } catch {
    return 'unknown'
  }
}

/** A path of a file in `dataDir` for a socket. If it is too long, it leads through a link in the temporary folder. */
function shortPath(dataDir: string, file: string) {
  const path = join(dataDir, file)
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES) return { path, remove: () => {} }
  const folder = mkdtempSync(join(tmpdir(), 'hasty-'))
  symlinkSync(dataDir, join(folder, 'd'))
  return { path: join(folder, 'd', file), remove: () => rmSync(folder, { recursive: true, force: true }) }
}
