import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { freePort } from '../test/helpers/ports.ts'
import { findPostgres, runPostgres } from '../test/helpers/postgres.ts'
import { Missing, type Scope } from './harness.ts'

const TOKEN = 'the-token-of-the-benchmarks'
// The compile cache that the scripts of package.json use.
const NODE_COMPILE_CACHE = fileURLToPath(new URL('../node_modules/.cache/node', import.meta.url))
export const admin = { 'x-access-token': TOKEN }

export interface Server {
  url: string
  pid: number
  /** From the start of the process to the first successful response. */
  startMs: number
  /** Asks the process to end. Resolves when it has ended. */
  end(): Promise<void>
}

export interface Hasty extends Server {
  dataDir: string
  /** Creates a link and returns its URL. */
  makeLink(): Promise<string>
  /** The id of the newest image. */
  newestImage(): Promise<string>
}

/** A temporary folder that is removed at the end. */
export function temporaryFolder(scope: Scope) {
  const folder = mkdtempSync(join(tmpdir(), 'hasty-bench-'))
  scope.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts Hasty like `npm start`, with the log level `warn`. Resolves when it is ready. */
export async function startHasty(scope: Scope, env: Record<string, string> = {}): Promise<Hasty> {
  const dataDir = env.DATA_DIR ?? temporaryFolder(scope)
  const server = await startNode(scope, '../server.ts', {
    probe: '/readyz',
    env: {
      ACCESS_TOKEN: TOKEN,
      DATA_DIR: dataDir,
      LOG_LEVEL: 'warn',
      MAX_FILE_SIZE: '2GiB',
      WORKER_PROCESSES: '0',
      ...env,
    },
  })
  return {
    ...server,
    dataDir,
    async makeLink() {
      const answer = await fetch(`${server.url}/admin/ephemeral-links`, {
        method: 'POST',
        headers: { ...admin, 'content-type': 'application/json' },
        body: '{"sinceNow":"PT1H"}',
      })
      return server.url + ((await answer.json()) as { relativePath: string }).relativePath
    },
    async newestImage() {
      const answer = await fetch(`${server.url}/admin/images?limit=1`, { headers: admin })
      return ((await answer.json()) as { items: { id: string }[] }).items[0]!.id
    },
  }
}

/** Starts a baseline: a script in `baselines/`. */
export const startBaseline = (scope: Scope, script: string, env: Record<string, string> = {}) =>
  startNode(scope, `./baselines/${script}`, { probe: '/', env })

/** Starts only a worker, with the log level `warn`. */
export function startWorker(scope: Scope, env: Record<string, string>) {
  spawnNode(scope, '../worker.ts', { DATA_DIR: temporaryFolder(scope), LOG_LEVEL: 'warn', ...env })
}

async function startNode(
  scope: Scope,
  script: string,
  { probe, env }: { probe: string; env: Record<string, string> },
): Promise<Server> {
  const port = await freePort()
  const startedAt = performance.now()
  const child = spawnNode(scope, script, { ...env, PORT: String(port) })
  const end = () => endProcess(child)
  const url = `http://127.0.0.1:${port}`
  await untilAnswered(url + probe, child)
  return { url, pid: child.pid!, startMs: performance.now() - startedAt, end }
}

function spawnNode(scope: Scope, script: string, env: Record<string, string>) {
  const args = [fileURLToPath(new URL(script, import.meta.url))]
  // Writes a CPU profile of each process to this folder.
  if (process.env.BENCH_PROFILE) args.unshift('--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_PROFILE}`)
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, NODE_NO_WARNINGS: '1', NODE_COMPILE_CACHE, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  scope.teardown(() => endProcess(child))
  return child
}

async function endProcess(child: ChildProcess) {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

async function untilAnswered(url: string, child: ChildProcess) {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${child.spawnargs.join(' ')} ended with ${child.exitCode}`)
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await sleep(5)
  }
}

/** Starts PostgreSQL with its default flush of each commit. Returns a function that creates an empty database. */
export async function startPostgres(scope: Scope) {
  const bin = findPostgres()
  if (!bin) throw new Missing('PostgreSQL is not installed')
  const { url, remove } = await runPostgres(bin, { shared_buffers: '512MB', max_wal_size: '4GB' })
  scope.teardown(remove)
  let databases = 0
  return async () => {
    const name = `bench${databases++}`
    const sql = postgres(`${url}/postgres`)
    await sql.unsafe(`create database ${name}`)
    await sql.end()
    return `${url}/${name}`
  }
}

/** Starts nginx with one worker on a folder, tuned for static files. */
export async function startNginx(scope: Scope, root: string): Promise<string> {
  if (spawnSync('nginx', ['-v']).status !== 0) throw new Missing('nginx is not installed')
  const folder = temporaryFolder(scope)
  const port = await freePort()
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  writeFileSync(
    join(folder, 'nginx.conf'),
    `${user}
    worker_processes 1;
    daemon off;
    pid ${folder}/nginx.pid;
    error_log ${folder}/error.log;
    events { worker_connections 1024; }
    http {
      access_log off;
      sendfile on;
      tcp_nopush on;
      keepalive_requests 1000000000;
      open_file_cache max=1000;
      open_file_cache_valid 60s;
      default_type image/jpeg;
      client_body_temp_path ${folder}/body;
      proxy_temp_path ${folder}/proxy;
      fastcgi_temp_path ${folder}/fastcgi;
      uwsgi_temp_path ${folder}/uwsgi;
      scgi_temp_path ${folder}/scgi;
      server { listen 127.0.0.1:${port}; root ${root}; }
    }`,
  )
  const child = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')], {
    stdio: 'inherit',
  })
  scope.teardown(() => endProcess(child))
  const url = `http://127.0.0.1:${port}`
  while (!(await fetch(url).catch(() => undefined))) {
    if (child.exitCode !== null) throw new Error(readFileSync(join(folder, 'error.log'), 'utf8'))
    await sleep(10)
  }
  return url
}

/** The memory of a process and its children in MiB. Shared memory counts once. */
export function memoryOf(pid: number, { children = false } = {}) {
  const pids = [pid, ...(children ? childrenOf(pid) : [])]
  return (
    pids.reduce((sum, pid) => {
      const [, kB] = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')) ?? []
      return sum + Number(kB)
    }, 0) / 1024
  )
}

const childrenOf = (pid: number) =>
  execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
    .trim()
    .split(/\s+/)
    .map(Number)
