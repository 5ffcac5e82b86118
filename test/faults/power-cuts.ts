import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { TOKEN } from '../helpers/app.ts'
import { makePadded } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { type Disk, findLoopDevices, makeDisk } from '../helpers/loop-disk.ts'
import { findPostgres, runPostgres } from '../helpers/postgres.ts'
import { post, type Server, startServer, until } from '../helpers/server.ts'
import { type Answered, wrongAmong } from './harness.ts'

const CLIENTS = 4
const MINUTE = 60_000
const SERVER = fileURLToPath(new URL('../../server.ts', import.meta.url))
/** How long the first start takes in which a database is created, at least. */
const CREATION_MS = 6_000

type Postgres = Awaited<ReturnType<typeof runPostgres>>

/** The contents of a disk: the files of the service, and those of its PostgreSQL if it has one. */
interface Machine {
  disk: Disk
  env: Record<string, string>
  postgres: Postgres | undefined
}

/** Defines the tests of power cuts: the number of cuts during uploads, and during the creation of the database. */
export function testPowerCuts({ uploads: cuts, creations }: { uploads: number; creations: number }) {
  const noLoop = findLoopDevices()
  const bin = findPostgres()
  const databases = {
    'the embedded database': noLoop,
    'PostgreSQL and files': noLoop || (bin ? false : 'PostgreSQL is not installed'),
  }
  t.setTimeout(20 * MINUTE)
  for (const [name, skip] of Object.entries(databases)) {
    const usePostgres = name !== 'the embedded database'
    const options = { skip, timeout: 15 * MINUTE }

    t.test(`on ${name}, ${cuts} power cuts during uploads lose no answered image`, options, async (t) => {
      const machine = await boot(makeDisk(), usePostgres ? bin : undefined)
      const server = await startServer(t, machine.env)
      execFileSync('sync', ['-f', machine.disk.folder]) // the empty database was copied without flushes
      const answered: Answered = new Map()
      const uploads = uploadUntilStopped(server, answered)
      const wrong: string[] = []
      let checked = 0
      for (let cut = 1; cut <= cuts; cut++) {
        const before = answered.size
        await until(async () => answered.size >= before + 6 || undefined, 60_000)
        await sleep(randomInt(300))
        // After each cut the images since the last one, and after the last cut all images.
        const from = cut < cuts ? checked : 0
        const result = await cutAndCheck(t, machine, server, () => new Map([...answered].slice(from)))
        checked = from + result.checked
        wrong.push(...result.wrong)
      }
      uploads.stop()
      await server.end('SIGKILL', { group: true })
      await uploads.ended
      await shutDown(machine)
      t.strictSame(wrong, [], `${answered.size} images were answered, and each is there with its bytes`)
      t.ok(answered.size > 5 * cuts, `${answered.size} images were answered`)
    })

    t.test(
      `on ${name}, the service starts after ${creations} power cuts during its first start`,
      options,
      async (t) => {
        for (let cut = 0; cut < creations; cut++) {
          const machine = await boot(makeDisk(), usePostgres ? bin : undefined)
          const child = spawnServer(machine.env)
          await sleep((CREATION_MS * (cut + Math.random())) / creations)
          const copy = cutPower(machine, child)
          process.kill(-child.pid!, 'SIGKILL')
          await once(child, 'exit')
          await shutDown(machine)

          const again = await boot(copy, usePostgres ? bin : undefined)
          const server = await startServer(t, again.env, { database: 'new' })
          const { id } = await post(await server.makeLink(), await makePadded(1_000))
          t.equal((await fetch(`${server.url}/images/${id}`)).status, 200)
          await server.end('SIGKILL', { group: true })
          await shutDown(again)
        }
      },
    )
  }
}

/** Starts the PostgreSQL of a disk, or creates it. */
async function boot(disk: Disk, bin: string | undefined): Promise<Machine> {
  const env: Record<string, string> = { DATA_DIR: join(disk.folder, 'data'), WORKER_PROCESSES: '0' }
  if (!bin) return { disk, env, postgres: undefined }
  const folder = join(disk.folder, 'postgres')
  // It names the process of the original, which is stopped, and would not exist after a power cut.
  rmSync(join(folder, 'postmaster.pid'), { force: true })
  const postgres = await runPostgres(bin, {}, folder)
  return { disk, env: { ...env, DATABASE_URL: `${postgres.url}/postgres` }, postgres }
}

async function shutDown({ disk, postgres }: Machine) {
  postgres?.signal('SIGCONT') // a stopped process does not end
  await postgres?.stop()
  disk.remove()
}

/** Stops all processes of a machine, and copies its disk. */
function cutPower({ disk, postgres }: Machine, server: ChildProcess): Disk {
  process.kill(-server.pid!, 'SIGSTOP')
  postgres?.signal('SIGSTOP')
  return disk.copy()
}

/**
 * Cuts the power, starts the service from the copy of the disk, and lets the original go on.
 *
 * @param promised the images that the service must have, asked after the cut
 */
async function cutAndCheck(t: Test, machine: Machine, server: Server, promised: () => Answered) {
  const copy = cutPower(machine, server.process)
  // Answers that were on their way.
  await sleep(20)
  const images = promised()
  const again = await boot(copy, machine.postgres && findPostgres())
  const restarted = await startServer(t, again.env, { database: 'new' })
  const wrong = await wrongAmong(restarted.url, images)
  await restarted.end('SIGKILL', { group: true })
  await shutDown(again)
  machine.postgres?.signal('SIGCONT')
  process.kill(-server.process.pid!, 'SIGCONT')
  return { wrong, checked: images.size }
}

function uploadUntilStopped(server: Server, answered: Answered) {
  let stopped = false
  const client = async () => {
    const link = await server.makeLink()
    while (!stopped) {
      const body = await makePadded(randomInt(100_000))
      const { id } = await post(link, body)
      answered.set(id, sha256(body))
      await sleep(20)
    }
  }
  return {
    stop() {
      stopped = true
    },
    ended: Promise.allSettled(Array.from({ length: CLIENTS }, client)),
  }
}

/** Starts a server without waiting for it. */
const spawnServer = (env: Record<string, string>) =>
  spawn(process.execPath, [SERVER], {
    env: { ...process.env, NODE_OPTIONS: '', ACCESS_TOKEN: TOKEN, PORT: '0', LOG_LEVEL: 'info', ...env },
    stdio: 'ignore',
    detached: true,
  })
