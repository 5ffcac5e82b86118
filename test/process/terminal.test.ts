import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import t, { type Test } from 'tap'
import { admin, TOKEN } from '../helpers/app.ts'
import { dataDirWithDatabase, dataDirWithLentDatabase, hasLentDatabase } from '../helpers/embedded.ts'
import { newFolder } from '../helpers/folder.ts'
import { ATTACH, NODE_COMPILE_CACHE, startServer, until } from '../helpers/server.ts'

const missing = spawnSync('script', ['--version']).error ? 'script (util-linux) is not installed' : false
const SERVER = fileURLToPath(new URL('../../server.ts', import.meta.url))

/** Starts server.ts in a pseudo terminal. Resolves when it is ready. */
async function startInTerminal(t: Test, env: Record<string, string>) {
  const terminal = openTerminal(t, env)
  await until(async () => terminal.read().includes('/admin/ephemeral-links') || undefined, 120_000)
  return { ...terminal, url: /http:\/\/[\d.]+:\d+/.exec(stripVTControlCharacters(terminal.read()))![0] }
}

/** Runs server.ts in a pseudo terminal. */
function openTerminal(t: Test, env: Record<string, string>) {
  // Node prints no colours if one of these is set.
  const { NO_COLOR: _, FORCE_COLOR: __, NODE_DISABLE_COLORS: ___, CI: ____, ...inherited } = process.env
  const command = `exec '${process.execPath}' ${hasLentDatabase(env.DATA_DIR!) ? ATTACH : ''} '${SERVER}'`
  const child = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
    env: {
      ...inherited,
      NODE_OPTIONS: '',
      TERM: 'xterm-256color',
      NODE_COMPILE_CACHE,
      PORT: '0',
      WORKER_PROCESSES: '0',
      ...env,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  const ended = once(child, 'close')
  return {
    read: () => output,
    /** Resolves with the exit code. */
    ended: ended.then(() => child.exitCode),
    pressCtrlC() {
      child.stdin.write('\x03')
      return this.ended
    },
  }
}

t.test(
  'in a terminal, a start shows the URL, a first command, the token, the data and how to stop',
  { skip: missing },
  async (t) => {
    const DATA_DIR = await dataDirWithLentDatabase(t)
    const server = await startInTerminal(t, { DATA_DIR })
    const token = readFileSync(join(DATA_DIR, 'access-token'), 'utf8').trim()
    t.match(server.read(), '\x1b[', 'it uses colours')
    const shown = stripVTControlCharacters(server.read())
    t.match(shown, `curl -H "X-Access-Token: $(cat `)
    t.match(shown, `--json '{"sinceNow":"PT1H"}' ${server.url}/admin/ephemeral-links`)
    t.match(shown, /Token +in the file .*access-token/)
    t.match(shown, /Database +embedded, in .*db/)
    t.match(shown, /Images +.*objects/)
    t.match(shown, /Stop +Ctrl\+C/)
    t.notMatch(shown, token, 'the token itself is not shown')
    t.notMatch(shown, '"level"', 'no line is JSON')

    await fetch(`${server.url}/admin/stats`, { headers: { 'x-access-token': token } })
    await until(async () => server.read().includes('GET /admin/stats 200') || undefined)
    const isOpen = (path: string) => (statSync(join(DATA_DIR, path)).mode & 0o077) !== 0
    const paths = readdirSync(DATA_DIR, { encoding: 'utf8', recursive: true }).filter(
      (path) => path !== 'db.sock',
    )
    t.strictSame(paths.filter(isOpen), [], 'other users can read nothing that was created')
    t.equal(await server.pressCtrlC(), 0)
  },
)

t.test(
  'NO_COLOR is respected, and a start that fails gives its reason in one sentence',
  { skip: missing },
  async (t) => {
    const DATA_DIR = await dataDirWithDatabase(t)
    const server = await startInTerminal(t, { DATA_DIR, NO_COLOR: '1', ACCESS_TOKEN: TOKEN })
    await fetch(`${server.url}/admin/stats`, { headers: admin })
    await until(async () => server.read().includes('GET /admin/stats 200') || undefined)
    t.notMatch(server.read(), '\x1b[')
    t.match(server.read(), /Token +set by ACCESS_TOKEN/)

    const { port } = new URL(server.url)
    for (const [env, reason] of [
      [
        { DATA_DIR },
        /^DATA_DIR .* is in use by another Hasty \(process \d+\)\. Stop that process, or set another/,
      ],
      [
        { DATA_DIR: await dataDirWithLentDatabase(t), PORT: port },
        /^PORT \d+ of 127\.0\.0\.1 is in use by another program\. Stop that program, or set another PORT\.$/,
      ],
      [{ DATA_DIR, PORT: 'three' }, /^PORT is "three", but must be/],
    ] as const) {
      const failed = openTerminal(t, { ...env, NO_COLOR: '1', ACCESS_TOKEN: TOKEN })
      t.equal(await failed.ended, 1)
      const lines = failed
        .read()
        .trim()
        .split(/[\r\n]+/)
      const said = lines.filter((line) => !/is starting/.test(line)).join('\n')
      t.match(said.replace('The start failed. ', ''), reason)
      t.match(said, /^The start failed\. /, 'nothing else is printed, and no stack')
      t.notMatch(said, / {4}at |\n/)
    }
  },
)

t.test('without a terminal, every line is JSON and no line has the token', async (t) => {
  const DATA_DIR = newFolder(t)
  const env = { DATA_DIR, ACCESS_TOKEN: '', WORKER_PROCESSES: '0' }
  const server = await startServer(t, env, { database: 'lent' })
  const token = readFileSync(join(DATA_DIR, 'access-token'), 'utf8').trim()
  for (const line of server.lines) t.equal(typeof JSON.parse(line).msg, 'string')
  t.notMatch(server.lines.join('\n'), token)
})
