import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import t, { type Test } from 'tap'
import { admin, TOKEN } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { startServer, until } from '../helpers/server.ts'

const missing = spawnSync('script', ['--version']).error ? 'script (util-linux) is not installed' : false
const SERVER = fileURLToPath(new URL('../../server.ts', import.meta.url))

/** Starts server.ts in a pseudo terminal. */
async function startInTerminal(t: Test, env: Record<string, string>) {
  const { NO_COLOR: _, FORCE_COLOR: __, ...inherited } = process.env
  const command = `exec '${process.execPath}' '${SERVER}'`
  const child = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
    env: {
      ...inherited,
      NODE_OPTIONS: '',
      TERM: 'xterm-256color',
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
  await until(async () => output.includes('/admin/ephemeral-links') || undefined, 120_000)
  return {
    read: () => output,
    url: /http:\/\/[\d.]+:\d+/.exec(stripVTControlCharacters(output))![0],
    async pressCtrlC() {
      child.stdin.write('\x03')
      await once(child, 'exit')
      return child.exitCode
    },
  }
}

t.test(
  'in a terminal, a start shows the URL, a first command, the token, the data and how to stop',
  { skip: missing },
  async (t) => {
    const DATA_DIR = newFolder(t)
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
    // Other users cannot enter a folder of mode 0700, so its content is not looked at.
    const isOpen = (path: string) => (statSync(join(DATA_DIR, path)).mode & 0o077) !== 0
    t.strictSame(readdirSync(DATA_DIR).filter(isOpen), [], 'other users can read nothing that was created')
    t.equal(await server.pressCtrlC(), 0)
  },
)

t.test('NO_COLOR is respected', { skip: missing }, async (t) => {
  const server = await startInTerminal(t, { DATA_DIR: newFolder(t), NO_COLOR: '1', ACCESS_TOKEN: TOKEN })
  await fetch(`${server.url}/admin/stats`, { headers: admin })
  await until(async () => server.read().includes('GET /admin/stats 200') || undefined)
  t.notMatch(server.read(), '\x1b[')
  t.match(server.read(), /Token +set by ACCESS_TOKEN/)
})

t.test('without a terminal, every line is JSON and no line has the token', async (t) => {
  const DATA_DIR = newFolder(t)
  const server = await startServer(t, { DATA_DIR, ACCESS_TOKEN: '', WORKER_PROCESSES: '0' })
  const token = readFileSync(join(DATA_DIR, 'access-token'), 'utf8').trim()
  for (const line of server.lines) t.equal(typeof JSON.parse(line).msg, 'string')
  t.notMatch(server.lines.join('\n'), token)
})
