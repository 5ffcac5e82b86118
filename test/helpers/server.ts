import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { UploadAnswer } from '../../schemas/uploads.ts'
import { admin, TOKEN } from './app.ts'
import { copyDatabase, hasLentDatabase, lendDatabase } from './embedded.ts'

export interface Server {
  url: string
  /** The lines that it has written so far. */
  lines: string[]
  process: ChildProcess
  /** Signals the process, or its whole group like a terminal. Resolves with its exit code when it has ended. */
  end(signal: NodeJS.Signals, options?: { group?: boolean }): Promise<number | null>
  makeLink(): Promise<string>
}

// A third of a start is compiling, and hundreds are made. The processes of the tests have compiled most modules.
export const NODE_COMPILE_CACHE = resolve(process.env.NODE_COMPILE_CACHE ?? 'node_modules/.cache/node')
const SERVER = fileURLToPath(new URL('../../server.ts', import.meta.url))
/** The option of Node with which an entry uses a lent database. */
export const ATTACH = `--import=${new URL('./attach-database.ts', import.meta.url).href}`

/** The environment of each entry that a test starts. */
export const entryEnv = () => ({
  ...process.env,
  NODE_OPTIONS: '',
  NODE_COMPILE_CACHE,
  ACCESS_TOKEN: TOKEN,
  PORT: '0',
})

interface ServerOptions {
  /** How many files it may have open. */
  descriptors?: number
  /**
   * Its embedded database in `DATA_DIR`. `own`: the server opens a copy of an empty one, or the one that is there. `new`: it
   * creates it itself. `lent`: it uses one that is open, which saves the seconds that it takes to open one.
   */
  database?: 'own' | 'new' | 'lent'
}

/** Starts `server.ts` in a separate process group on a free port. Resolves when it listens. */
export async function startServer(
  t: Test,
  env: Record<string, string>,
  { descriptors, database = 'own' }: ServerOptions = {},
): Promise<Server> {
  const isLent = database === 'lent' && !env.DATABASE_URL
  const { DATA_DIR } = env
  if (isLent && !hasLentDatabase(DATA_DIR!)) await lendDatabase(t, DATA_DIR!)
  if (database === 'own' && DATA_DIR && !env.DATABASE_URL) await copyDatabase(DATA_DIR)
  const command = descriptors === undefined ? '' : `ulimit -n ${descriptors}; `
  const script = [...(isLent ? [ATTACH] : []), SERVER]
  const child = spawn('sh', ['-c', `${command}exec "$0" "$@"`, process.execPath, ...script], {
    env: { ...entryEnv(), LOG_LEVEL: 'info', STOP_DELAY: 'PT0S', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const lines: string[] = []
  const exited = once(child, 'exit')
  const end: Server['end'] = async (signal, { group = false } = {}) => {
    if (child.exitCode === null && child.signalCode === null)
      process.kill(group ? -child.pid! : child.pid!, signal)
    await exited
    return child.exitCode
  }
  t.teardown(() => end('SIGKILL', { group: true }).catch(() => {}))

  child.stderr.on('data', (data) => lines.push(String(data)))
  const url = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      lines.push(line)
      const [, address] = /listening at (http:\/\/[\d.]+:\d+)/.exec(line) ?? []
      if (address) resolve(address)
    })
    exited.then(() => reject(new Error(`server.ts ended with ${child.exitCode}: ${lines.join('\n')}`)))
  })

  return {
    url,
    lines,
    process: child,
    end,
    async makeLink() {
      const answer = await fetch(`${url}/admin/ephemeral-links`, {
        method: 'POST',
        headers: { ...admin, 'content-type': 'application/json' },
        body: '{"sinceNow":"PT1H"}',
      })
      if (answer.status !== 201)
        throw new Error(`no link was created: ${answer.status} ${await answer.text()}`)
      return url + ((await answer.json()) as { relativePath: string }).relativePath
    },
  }
}

/** Starts `worker.ts` alone. */
export function startWorker(t: Test, env: Record<string, string>): Pick<Server, 'end'> {
  const worker = spawnEntry('worker.ts', env)
  const exited = once(worker, 'exit')
  t.teardown(() => worker.kill('SIGKILL'))
  return {
    async end(signal) {
      worker.kill(signal)
      await exited
      return worker.exitCode
    },
  }
}

/** Runs an entry that ends by itself, and resolves with its exit code. */
export async function runToEnd(entry: string, env: Record<string, string>): Promise<number> {
  const [code] = await once(spawnEntry(entry, env), 'exit')
  return code
}

const spawnEntry = (entry: string, env: Record<string, string>) =>
  spawn(process.execPath, [fileURLToPath(new URL(`../../${entry}`, import.meta.url))], {
    env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })

/** Posts one image and resolves with the answer, whether it is taken in or a problem. */
export async function send(link: string, body: Uint8Array) {
  const form = new FormData()
  form.append('image', new Blob([body as Uint8Array<ArrayBuffer>]), 'image')
  const answer = await fetch(link, { method: 'POST', body: form })
  const told = (await answer.json()) as UploadAnswer & { type?: string }
  return { status: answer.status, ...told }
}

/** Posts one image. Resolves with its entry in the response. */
export async function post(link: string, body: Uint8Array) {
  return (await send(link, body)).processed[0]!
}

/** All images that the admin sees. */
export async function listImages(url: string) {
  const images: { id: string; hash: string; status: string; removedAt?: string }[] = []
  let cursor = ''
  do {
    const page = await fetch(`${url}/admin/images?limit=500${cursor}`, { headers: admin })
    const { items, nextCursor } = (await page.json()) as { items: typeof images; nextCursor?: string }
    images.push(...items)
    cursor = nextCursor ? `&cursor=${nextCursor}` : ''
  } while (cursor)
  return images
}

/** Asks again and again until `read` gives something. */
export async function until<T>(read: () => Promise<T | undefined>, milliseconds = 10_000): Promise<T> {
  let cause: unknown
  for (const end = Date.now() + milliseconds; ; ) {
    const found = await read().catch((error) => {
      cause = error
      return undefined
    })
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`not within ${milliseconds} ms: ${read}`, { cause })
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
