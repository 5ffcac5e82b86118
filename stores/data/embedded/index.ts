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

/** Where the embedded database can be reached, and how to be done with it. */
export interface Embedded {
  /** The path of a Unix socket that speaks PostgreSQL's protocol. */
  path: string
  close(): Promise<void>
}

const DATABASE = fileURLToPath(new URL('./thread.ts', import.meta.url))

// sockaddr_un has room for 108 bytes on Linux and 104 on macOS and the BSDs, the final NUL among them.
const SOCKET_PATH_BYTES = 103

// To make a database takes seconds.
const PATIENCE_MS = 60_000
const POLL_MS = 50
const LOCK_TIMEOUT_MS = 100
const REOPEN_MS = 1_000

/**
 * Opens the embedded database in `dataDir` and serves it on a Unix socket in that folder.
 *
 * PGlite does not lock its folder, so this does. With `attach`, a folder that another process has open is no error:
 * the socket of that process is used, as soon as it answers.
 *
 * @throws {DataDirInUse} also with `attach`, where the socket does not answer
 */
export async function openEmbedded(dataDir: string, { attach }: { attach: boolean }): Promise<Embedded> {
  const created = mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  if (created) flush(dirname(created))
  const socket = shortPath(dataDir, 'db.sock')
  const patientUntil = Date.now() + (attach ? PATIENCE_MS : 0)
  let lock: ReturnType<typeof takeLock>
  for (;;) {
    if (attach && (await answers(socket.path))) {
      return { path: socket.path, close: async () => socket.remove() }
    }
    lock = takeLock(dataDir)
    if (lock) break
    if (Date.now() >= patientUntil) {
      socket.remove()
      const advice = attach
        ? 'It does not answer: stop it.'
        : 'Stop that one, or give this one another DATA_DIR.'
      throw new DataDirInUse(
        `DATA_DIR ${dataDir} is in use by another Hasty (process ${holderOf(dataDir)}). ${advice}`,
      )
    }
    await sleep(POLL_MS)
  }

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

/**
 * Creates the database aside and renames it when it is whole, so that a kill in between leaves none. A process does
 * that, whose memory ends with it: a thread would leave 70 MB of it behind.
 */
async function create(dataDir: string, folder: string) {
  for (const name of readdirSync(dataDir)) {
    if (name.startsWith('db.new')) rmSync(join(dataDir, name), { recursive: true, force: true })
  }
  // The process of one that was killed may still write to its own.
  const draft = join(dataDir, `db.new-${randomUUID()}`)
  const [code] = await warnWhenSlow('Creating the embedded database', once(fork(DATABASE, [draft]), 'exit'))
  if (code !== 0) throw new Error(`the process that creates the embedded database ended with ${code}`)
  renameSync(draft, folder)
  flush(dataDir)
}

/**
 * Serves the database in a thread until it is closed. A thread that ends before, because of what makes PostgreSQL end
 * all its processes (no room for its write-ahead log, say), is started again, and recovers as after a kill. Until that
 * succeeds there is nothing on the socket.
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
        `The embedded database has ended (${failure?.message}), and is opened again. Is there room on its disk?`,
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

/** Starts the thread of the database; `open` resolves when it can be spoken to, `ended` with why it has ended. */
function startThread(workerData: { folder: string; socket: string }) {
  rmSync(workerData.socket, { force: true })
  const thread = new Worker(DATABASE, { workerData })
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
  // Who waits for it is told; who does not, by `ended`.
  open.catch(() => {})
  return { open, ended, close: () => thread.postMessage('close') }
}

/** Resolves when the thread says so; what is loaded into every thread (for tests, say) may say other things before. */
async function untilOpen(thread: Worker) {
  for await (const [message] of on(thread, 'message')) if (message === 'open') return
}

/**
 * Locks the folder for this process, or returns undefined where another process has it locked.
 *
 * The lock is SQLite's exclusive lock on a file, which the kernel releases when the process ends, however it ends.
 */
function takeLock(dataDir: string) {
  // Of two processes that try at the same moment one is let wait for the other, which gives up.
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

/** Whether something listens on a socket; what was left by a process that was killed does not. */
async function answers(path: string) {
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

/** A path to a file in `dataDir` that fits a socket's address: through a link in the temporary folder where it is too long. */
function shortPath(dataDir: string, file: string) {
  const path = join(dataDir, file)
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES) return { path, remove: () => {} }
  const folder = mkdtempSync(join(tmpdir(), 'hasty-'))
  symlinkSync(dataDir, join(folder, 'd'))
  return { path: join(folder, 'd', file), remove: () => rmSync(folder, { recursive: true, force: true }) }
}
