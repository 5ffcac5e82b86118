import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { TOKEN } from '../helpers/app.ts'
import { copyDatabase } from '../helpers/embedded.ts'
import { newFolder } from '../helpers/folder.ts'
import { until } from '../helpers/server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a script of package.json in a process group. Resolves when a line of its log matches. */
async function startScript(t: Test, script: string[], env: Record<string, string>, isStarted: RegExp) {
  const npm = spawn('npm', script, {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '', ACCESS_TOKEN: TOKEN, PORT: '0', STOP_DELAY: 'PT0S', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const exited = once(npm, 'exit')
  const isAlive = () => {
    try {
      return process.kill(-npm.pid!, 0)
    } catch {
      return false
    }
  }
  t.teardown(() => isAlive() && process.kill(-npm.pid!, 'SIGKILL'))
  await new Promise<void>((resolve, reject) => {
    createInterface(npm.stdout).on('line', (line) => isStarted.test(line) && resolve())
    exited.then(([code]) => reject(new Error(`npm ${script.join(' ')} ended with ${code}`)))
  })
  return { npm, exited, isAlive }
}

t.test('a SIGTERM to npm stops the service and a worker, and no process remains', async (t) => {
  const DATA_DIR = newFolder(t)
  await copyDatabase(DATA_DIR)
  const service = await startScript(t, ['start'], { DATA_DIR, WORKER_PROCESSES: '0' }, /listening at/)
  const worker = await startScript(t, ['run', 'worker'], { DATA_DIR }, /decoders are isolated/)
  for (const { npm, exited, isAlive } of [worker, service]) {
    npm.kill('SIGTERM')
    await exited
    await until(async () => !isAlive() || undefined)
    t.pass('the process group has ended')
  }
})
