import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Test } from 'tap'
import { freePort } from './ports.ts'

/**
 * PostgreSQL for the tests of a file. All files of a run share one server (`TEST_POSTGRES_URL`). A file that is run
 * alone, or that asks for its `own` server because it stops it, starts one when it asks for the first database.
 */
export function startPostgres(t: Test, { own = false } = {}) {
  const bin = findPostgres()
  const shared = own ? undefined : process.env.TEST_POSTGRES_URL
  let server: ReturnType<typeof runPostgres> | undefined

  t.teardown(async () => (await server)?.remove())

  return {
    /** Why tests that need it are skipped; false where it is installed. */
    missing: bin ? (false as const) : 'PostgreSQL is not installed',

    /** Makes an empty database and returns its URL. */
    async createDatabase(isolation: 'read committed' | 'serializable' = 'read committed') {
      if (!shared) server ??= runPostgres(bin!, { fsync: 'off' })
      const url = shared ?? (await server!).url
      const name = `test_${randomUUID().replaceAll('-', '_')}`
      const sql = postgres(`${url}/postgres`, { max: 1, onnotice() {} })
      await sql.unsafe(`create database ${name}`)
      await sql.unsafe(`alter database ${name} set default_transaction_isolation = '${isolation}'`)
      await sql.end()
      return `${url}/${name}`
    },

    /** Stops its own server like a crash. Its databases remain. */
    stop: async () => (await server)!.stop(),
    restart: async () => (await server)!.restart(),
    /** Stops all processes of its own server (SIGSTOP), with their connections open. */
    pause: async () => (await server)!.signal('SIGSTOP'),
    resume: async () => (await server)!.signal('SIGCONT'),
  }
}

/**
 * Runs a PostgreSQL with an empty cluster in a temporary folder, on a free port of the loopback.
 *
 * @param bin the folder of its programs
 * @param settings further ones, by the names of postgresql.conf
 * @param folder where the cluster is, or will be created; by default a new temporary folder
 */
export async function runPostgres(
  bin: string,
  settings: Record<string, string | number> = {},
  folder = mkdtempSync(join(tmpdir(), 'hasty-postgres-')),
) {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // PostgreSQL does not run as root.
  const user = process.getuid?.() === 0 ? unprivilegedUser() : {}
  if (user.uid) chownSync(folder, user.uid, user.gid)
  const options = { ...user, cwd: folder, stdio: 'ignore' as const }
  if (!existsSync(join(folder, 'PG_VERSION'))) {
    const sync = settings.fsync === 'off' ? ['--no-sync'] : []
    execFileSync(
      join(bin, 'initdb'),
      ['-D', folder, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', ...sync],
      options,
    )
  }
  const port = await freePort()
  const all = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: folder,
    max_connections: 200,
    ...settings,
  }
  const url = `postgres://postgres@127.0.0.1:${port}`
  const run = async () => {
    const arguments_ = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const server = spawn(join(bin, 'postgres'), ['-D', folder, ...arguments_], options)
    await untilReady(url)
    return server
  }

  let server = await run()
  const stop = async () => {
    if (server.exitCode !== null) return
    server.kill('SIGQUIT')
    await once(server, 'exit')
  }
  return {
    url,
    stop,
    signal(signal: NodeJS.Signals) {
      const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8')
      process.kill(server.pid!, signal)
      for (const pid of children.match(/\d+/g) ?? []) {
        try {
          process.kill(Number(pid), signal)
        } catch {
          // It has ended meanwhile.
        }
      }
    },
    async restart() {
      server = await run()
    },
    async remove() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The folder of PostgreSQL's programs; undefined where it is not installed. */
export function findPostgres() {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [
    ...versions.map((version) => join(debian, version, 'bin')),
    ...(process.env.PATH ?? '').split(':'),
  ]
  return folders.find((folder) => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')))
}

function unprivilegedUser() {
  const id = (option: string, name: string) =>
    Number(execFileSync('id', [option, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
  for (const name of ['postgres', 'nobody']) {
    try {
      return { uid: id('-u', name), gid: id('-g', name) }
    } catch {}
  }
  return {}
}

async function untilReady(url: string) {
  for (let tried = 0; ; tried++) {
    const sql = postgres(`${url}/postgres`, { max: 1, onnotice() {} })
    try {
      await sql`select 1`
      return
    } catch (error) {
      if (tried === 1000) throw error
      await sleep(50)
    } finally {
      await sql.end()
    }
  }
}
