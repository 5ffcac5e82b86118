import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import {
  createSandbox,
  detectSandbox,
  LEVELS,
  type Level,
  searchPath,
} from '../../../services/analysis/sandbox/levels.ts'

// Runs `escape.ts` in place of a decoder, started in the same way. It tries to reach what a decoder must not reach:
// first as JavaScript, then as native code would, by programs that Node's permission model does not restrict.

const ESCAPE = fileURLToPath(new URL('./escape.ts', import.meta.url))
const folder = t.testdir()
const TOKEN = 'the-secret-token-of-this-process'
process.env.ACCESS_TOKEN = TOKEN

const object = join(folder, 'objects', 'another-image')
mkdirSync(join(folder, 'objects'))
writeFileSync(object, 'the bytes of another image')
const tokenFile = join(folder, 'access-token')
writeFileSync(tokenFile, TOKEN)
const database = createServer((socket) => socket.end()).listen(join(folder, 'db.sock'))
const network = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
await Promise.all([once(database, 'listening'), once(network, 'listening')])
t.teardown(() => {
  database.close()
  network.close()
})
const { port } = network.address() as { port: number }
const written = join(tmpdir(), `hasty-escape-${process.pid}`)

interface Attempts {
  javascript: Record<string, string>
  native: Record<string, string>
}

/** What the code in the sandbox could do: `succeeded`, or why it failed. */
async function attempt(level: Level, limited: boolean): Promise<Attempts> {
  const targets = { object, tokenFile, socket: join(folder, 'db.sock'), port, written, parent: process.pid }
  const sandbox = createSandbox(level, limited)
  const [file, args] = sandbox.command(ESCAPE, [JSON.stringify(targets)], { memory: 2 ** 30 })
  const child = spawn(file, args, { env: searchPath(), cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.on('data', (data) => {
    errors += data
  })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  const ended = await once(child, 'close')
  if (output === '') throw new Error(`ended with ${ended}: ${errors}`)
  return JSON.parse(output)
}

const { level: strongest, limited } = await detectSandbox()

for (const level of LEVELS) {
  const skip =
    LEVELS.indexOf(level) < LEVELS.indexOf(strongest) && `this machine does not permit the level ${level}`
  t.test(
    `code in a decoder reaches only the documented resources at the level ${level}`,
    { skip },
    async (t) => {
      const { javascript, native } = await attempt(level, limited)
      t.comment(JSON.stringify({ javascript, native }))
      const ways = ['environment', 'token file', 'another object', 'writing', 'program', 'parent']
      for (const way of ways) t.not(javascript[way], 'succeeded', `JavaScript: ${way}`)
      const bytesWritten = statSync(written, { throwIfNoEntry: false })?.size ?? 0
      if (limited || level === 'namespaces') t.equal(bytesWritten, 0, 'native code: writing')
      rmSync(written, { force: true })
      if (level !== 'permissions') t.not(javascript.network, 'succeeded', 'JavaScript: network')
      if (level !== 'permissions') t.not(native.network, 'succeeded', 'native code: network')
      // Node does not restrict connections to a socket's path.
      if (level === 'namespaces') t.not(javascript.database, 'succeeded', 'JavaScript: database')
      if (level === 'namespaces')
        for (const way of ['token file', 'database', 'another object', 'parent'])
          t.not(native[way], 'succeeded', `native code: ${way}`)
    },
  )
}
