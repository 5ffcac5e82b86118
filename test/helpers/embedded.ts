import { spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  constants,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import type { Test } from 'tap'
import { openDataStore } from '../../stores/data/index.ts'
import { newFolder } from './folder.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TEMPLATES = join(ROOT, 'node_modules/.cache/test-databases')
const LENDER_POLL_MS = 50
const LENDER_TRIES = 1200

/** A folder for `DATA_DIR` that has an empty database with the current schema. It goes with the test. */
export async function dataDirWithDatabase(t: Test) {
  const dataDir = newFolder(t)
  await copyDatabase(dataDir)
  return dataDir
}

// PostgreSQL's own template databases, two thirds of the files. They are read only to create another database.
const UNUSED = ['base/1', 'base/4']

/** A folder for `DATA_DIR` whose database is lent: see `lendDatabase`. It goes with the test. */
export async function dataDirWithLentDatabase(t: Test) {
  const dataDir = newFolder(t)
  await lendDatabase(t, dataDir)
  return dataDir
}

/** Copies an empty database with the current schema to `dataDir`, unless there is one. To create one takes seconds. */
export async function copyDatabase(dataDir: string) {
  const folder = join(dataDir, 'db')
  if (existsSync(folder)) return
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const template = await findTemplate()
  const filter = (path: string) => !UNUSED.some((name) => path === join(template, name))
  cpSync(template, folder, { recursive: true, mode: constants.COPYFILE_FICLONE, filter })
}

/** The sockets of databases that this file has borrowed and that no test uses. */
const idle: string[] = []

/**
 * Lends an empty database to a test, which connects to it with `attach` in `dataDir`. To open a database takes a second of
 * CPU time, so one process opens databases for all test files: see `lent-databases.ts`. A test that changes the schema, or
 * looks at the files of the database, needs one of its own: see `copyDatabase`.
 */
export async function lendDatabase(t: Pick<Test, 'teardown'>, dataDir: string): Promise<void> {
  const socket = idle.pop() ?? (await borrow())
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  symlinkSync(socket, join(dataDir, 'db.sock'))
  t.teardown(async () => {
    await emptyDatabase(socket)
    idle.push(socket)
  })
}

/** Whether `lendDatabase` has lent a database to this `DATA_DIR`. */
export const hasLentDatabase = (dataDir: string) =>
  lstatSync(join(dataDir, 'db.sock'), { throwIfNoEntry: false })?.isSymbolicLink() === true

/** Gets the socket of a database, which is this process' own until it ends. */
async function borrow(): Promise<string> {
  const lender = join(tmpdir(), `hasty-test-${basename(await findTemplate())}.sock`)
  for (let tries = 0; ; tries++) {
    const connection = createConnection(lender)
    try {
      const [line] = await Promise.race([once(connection, 'data'), refuseClosed(connection)])
      connection.unref()
      return String(line).trim()
    } catch (error) {
      connection.destroy()
      if (tries === 0) startLender(lender)
      if (tries === LENDER_TRIES) throw error
      await sleep(LENDER_POLL_MS)
    }
  }
}

async function refuseClosed(connection: Socket): Promise<never> {
  await once(connection, 'close')
  throw new Error('the process that lends databases has ended')
}

function startLender(path: string) {
  const script = fileURLToPath(new URL('./lent-databases.ts', import.meta.url))
  spawn(process.execPath, [script, path], { stdio: 'ignore', detached: true }).unref()
}

/** Removes all rows. Nothing may be connected. */
export async function emptyDatabase(socket: string) {
  const sql = postgres({ path: socket, user: 'postgres', database: 'postgres', max: 1, onnotice: () => {} })
  await sql.unsafe(EMPTY)
  await sql.end()
}

/** Deletes the rows that a new database does not have, and the prepared statements of closed connections. */
const EMPTY = `
  do $$
  declare name text;
  begin
    for name in select tablename from pg_tables where schemaname = 'public' and tablename <> 'schemaversion' loop
      execute format('delete from %I', name);
    end loop;
  end $$;
  deallocate all`

/** The template for the current code. It is kept between runs, and made again when the code that makes it changes. */
export async function findTemplate() {
  const sources = globSync(['migrations/*', 'stores/data/embedded/*', 'package-lock.json'], {
    cwd: ROOT,
  }).sort()
  const hash = createHash('sha256').update(ROOT)
  for (const source of sources) hash.update(source).update(readFileSync(join(ROOT, source)))
  const template = join(TEMPLATES, hash.digest('hex').slice(0, 16))
  if (!existsSync(template)) await makeTemplate(template)
  return template
}

async function makeTemplate(template: string) {
  const old = existsSync(TEMPLATES) ? readdirSync(TEMPLATES).filter((name) => !name.startsWith('new-')) : []
  const draft = join(TEMPLATES, `new-${randomUUID()}`)
  const store = await openDataStore({ dataDir: draft, databaseUrl: undefined }, { attach: false })
  await store.close()
  try {
    renameSync(join(draft, 'db'), template)
  } catch (error) {
    // Another process of this run was faster.
    if (!existsSync(template)) throw error
  }
  for (const name of [draft, ...old.map((name) => join(TEMPLATES, name))])
    rmSync(name, { recursive: true, force: true })
}
