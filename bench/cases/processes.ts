import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Case, Round, Scope } from '../harness.ts'
import { makeJpeg } from '../images.ts'
import { readSlowly, upload, uploadSlowly } from '../load/index.ts'
import { type Hasty, memoryOf, startHasty, startPostgres, temporaryFolder } from '../servers.ts'

const CLIENTS = 100
const LARGE = 50 * 1000 * 1000
const MiB = 2 ** 20
const SETTLE_MS = 1000
const BYTES_PER_SECOND = 400_000
const SLOW_SECONDS = 6

/** Memory and start time of the processes. */
export const processes: Case[] = [
  {
    name: 'memory-slow-uploads',
    title: 'memory per slow upload (100 uploads of 50 MB)',
    unit: 'MB',
    figure: { atMost: 1 },
    rounds: 3,
    async prepare(scope) {
      const hasty = await startHasty(scope)
      const url = await hasty.makeLink()
      const file = await fileOf(scope, await makeJpeg(MiB))
      const load = { url, file, size: LARGE, clients: CLIENTS, multipart: true, distinct: true }
      const slowly = { ...load, bytesPerSecond: BYTES_PER_SECOND, untilSeconds: SLOW_SECONDS }
      return { hasty: await growth(hasty, () => uploadSlowly(slowly)) }
    },
  },
  {
    name: 'memory-slow-readers',
    title: 'memory per slow reader (100 readers of 50 MB)',
    unit: 'MB',
    figure: { atMost: 0.5 },
    rounds: 3,
    async prepare(scope) {
      const hasty = await startHasty(scope)
      const file = await fileOf(scope, await makeJpeg(MiB))
      const link = await hasty.makeLink()
      await upload({ url: link, file, size: LARGE, clients: 1, multipart: true, distinct: true })
      const url = `${hasty.url}/images/${await hasty.newestImage()}`
      const slowly = { url, clients: CLIENTS, bytesPerSecond: BYTES_PER_SECOND, seconds: SLOW_SECONDS }
      return { hasty: await growth(hasty, () => readSlowly(slowly)) }
    },
  },
  {
    name: 'start-postgres',
    title: 'start until /readyz, PostgreSQL',
    unit: 'ms',
    figure: { atMost: 1000 },
    async prepare(scope) {
      const DATABASE_URL = await (await startPostgres(scope))()
      return { hasty: () => startTime(scope, { DATABASE_URL }) }
    },
  },
  {
    name: 'start-embedded',
    title: 'start until /readyz, existing embedded database',
    unit: 'ms',
    figure: { atMost: 1500 },
    prepare: async (scope) => {
      const DATA_DIR = temporaryFolder(scope)
      return { hasty: () => startTime(scope, { DATA_DIR }) }
    },
  },
  {
    name: 'memory-idle',
    title: 'idle memory of npm start, all processes',
    unit: 'MB',
    figure: { atMost: 500 },
    rounds: 2,
    prepare: async (scope) => ({ hasty: () => idleMemory(scope, {}, { children: true }) }),
  },
  {
    name: 'memory-idle-api',
    title: 'idle memory of the API process, PostgreSQL',
    unit: 'MB',
    figure: { atMost: 120 },
    rounds: 2,
    async prepare(scope) {
      const DATABASE_URL = await (await startPostgres(scope))()
      return { hasty: () => idleMemory(scope, { DATABASE_URL }, { children: false }) }
    },
  },
]

async function startTime(scope: Scope, env: Record<string, string>) {
  const hasty = await startHasty(scope, env)
  await hasty.end()
  return hasty.startMs
}

async function idleMemory(scope: Scope, env: Record<string, string>, { children }: { children: boolean }) {
  const hasty = await startHasty(scope, { ...env, WORKER_PROCESSES: '1' })
  await sleep(3 * SETTLE_MS)
  const memory = memoryOf(hasty.pid, { children })
  await hasty.end()
  return memory
}

/**
 * A round measures the peak memory during `load`, minus the memory before the first round, divided by the number of
 * clients. So memory that an earlier round left behind counts too.
 *
 * @param load resolves with the number of transferred bytes
 */
async function growth(hasty: Hasty, load: () => Promise<number>): Promise<Round> {
  await sleep(SETTLE_MS)
  const idle = memoryOf(hasty.pid)
  return async () => {
    let peak = 0
    const watching = setInterval(() => {
      peak = Math.max(peak, memoryOf(hasty.pid))
    }, 100)
    const bytes = await load().finally(() => clearInterval(watching))
    const expected = CLIENTS * BYTES_PER_SECOND * SLOW_SECONDS
    if (bytes < expected / 2)
      throw new Error(`${bytes} bytes were transferred, but about ${expected} were expected`)
    return (peak - idle) / CLIENTS
  }
}

async function fileOf(scope: Scope, bytes: Buffer) {
  const path = join(temporaryFolder(scope), 'image.jpg')
  writeFileSync(path, bytes)
  return path
}
