import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort } from './ports.ts'

/** A nats-server with JetStream that this process runs. */
export interface Nats {
  url: URL
  /** Starts it on the same port and with the same store as before; resolves when it answers. */
  start(): Promise<void>
  /** Resolves when it has ended. */
  kill(): Promise<void>
  /** Has it stand still with its connections open. */
  pause(): void
  resume(): void
}

/** Why tests with a nats-server can't run; false where they can. */
export const withoutNats = () =>
  spawnSync('nats-server', ['--version']).status === 0 ? false : 'JetStream: nats-server is not installed'

/**
 * A nats-server on a free port of the loopback, with its store in a temporary folder. It ends with the test.
 *
 * @param options further arguments of nats-server
 */
export async function createNats(t: Pick<Test, 'teardown'>, options: string[] = []): Promise<Nats> {
  const store = await mkdtemp(join(tmpdir(), 'hasty-nats-'))
  const port = await freePort()
  let server: ChildProcess | undefined

  const kill = async () => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    await ended
  }
  t.teardown(async () => {
    await kill()
    await rm(store, { recursive: true })
  })

  return {
    url: new URL(`nats://127.0.0.1:${port}`),
    async start() {
      const flags = `--addr 127.0.0.1 --port ${port} --jetstream --store_dir ${store}`.split(' ')
      const started = spawn('nats-server', [...flags, ...options], { stdio: ['ignore', 'ignore', 'pipe'] })
      server = started
      const end = () => started.kill('SIGKILL')
      process.once('exit', end)
      started.once('exit', () => process.off('exit', end))
      let log = ''
      started.stderr.on('data', (chunk) => {
        log += chunk
      })
      while (!(await answers(port))) {
        if (started.exitCode !== null) throw new Error(`nats-server ended:\n${log}`)
        await sleep(20)
      }
    },
    kill,
    pause: () => server?.kill('SIGSTOP'),
    resume: () => server?.kill('SIGCONT'),
  }
}

export async function startNats(t: Pick<Test, 'teardown'>, options: string[] = []): Promise<Nats> {
  const nats = await createNats(t, options)
  await nats.start()
  return nats
}

async function answers(port: number) {
  const socket = createConnection(port, '127.0.0.1')
  try {
    await once(socket, 'data')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
