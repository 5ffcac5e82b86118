import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { until } from '../helpers/server.ts'

const folder = t.testdir()
const watchdog = new URL('../../process/watchdog.ts', import.meta.url).href
const keepRunning = fileURLToPath(new URL('../../process/keep-running.sh', import.meta.url))

/** Writes a program, and runs it; `before` stands before `node` in the command. */
function run(name: string, program: string, before: string[] = []) {
  const path = join(folder, name)
  writeFileSync(path, program)
  const [file, ...args] = [...before, process.execPath, path]
  const child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  return { child, output: () => output }
}

t.test('a process whose event loop is blocked is ended, and logs the reason', async (t) => {
  const { child, output } = run(
    'blocked.mjs',
    `import { watchOwnEventLoop } from ${JSON.stringify(watchdog)}
    watchOwnEventLoop('blocked', { blockedMs: 300, beatMs: 50 })
    process.on('SIGTERM', () => {})
    setTimeout(() => { for (;;); }, 200)`,
  )
  t.strictSame(await once(child, 'exit'), [null, 'SIGKILL'])
  t.match(JSON.parse(output()), {
    level: 60,
    name: 'blocked',
    msg: 'the event loop was blocked for 0.3 s, so the process is ended',
  })
})

t.test('a process that is only busy is not ended', async (t) => {
  const { child } = run(
    'busy.mjs',
    `import { watchOwnEventLoop } from ${JSON.stringify(watchdog)}
    watchOwnEventLoop('busy', { blockedMs: 1000, beatMs: 50 })
    const block = () => { for (const end = Date.now() + 100; Date.now() < end; ); }
    const blocking = setInterval(block, 110)
    setTimeout(() => clearInterval(blocking), 1500)`,
  )
  t.strictSame(await once(child, 'exit'), [0, null])
})

t.test('the primary process ends an API process that answers no ping', async (t) => {
  const { child, output } = run(
    'cluster.mjs',
    `import cluster from 'node:cluster'
    import { answerPings, watchApiProcesses } from ${JSON.stringify(watchdog)}
    if (cluster.isPrimary) {
      watchApiProcesses({ error: (context, message) => console.log(message) }, { blockedMs: 500, pingMs: 50 })
      cluster.fork().on('exit', (code, signal) => {
        console.log(signal)
        process.exit()
      })
    } else {
      answerPings()
      process.on('SIGTERM', () => {})
      setTimeout(() => { for (;;); }, 500)
    }`,
  )
  await once(child, 'exit')
  t.equal(output(), 'an API process does not answer and is ended\nSIGKILL\n')
})

t.test('npm start starts a killed server again, and passes on signals and exit codes', async (t) => {
  const { child, output } = run(
    'server.mjs',
    `import { existsSync, writeFileSync } from 'node:fs'
    console.log('started')
    const mark = ${JSON.stringify(join(folder, 'killed'))}
    if (!existsSync(mark)) {
      writeFileSync(mark, '')
      process.kill(process.pid, 'SIGKILL')
    }
    process.on('SIGTERM', () => process.exit(7))
    setInterval(() => {}, 1000)
    console.log('running')`,
    ['sh', keepRunning],
  )
  await until(async () => output().includes('running') || undefined)
  t.match(output(), /^started\n\{.*the server was killed and is started again.*\}\nstarted\nrunning\n$/)
  child.kill('SIGTERM')
  t.strictSame(await once(child, 'exit'), [7, null])
})
