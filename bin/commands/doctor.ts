import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import type { Config } from '../../config.ts'
import { createImageReader, type ImageReader } from '../../services/analysis/reader.ts'
import { detectSandbox } from '../../services/analysis/sandbox/levels.ts'
import { readVerifyState } from '../../services/lifecycle/verify.ts'
import { readPendingMigrations } from '../../stores/data/index.ts'
import { openStores, type Stores } from '../../stores/index.ts'
import { describeLocation, openObjectStores } from '../../stores/objects/index.ts'
import { hasCheck } from '../../stores/objects/object-store.ts'
import type { Command } from '../command.ts'
import { log, readLocalConfig } from '../local.ts'
import { bytes, count, EXIT, print, style, time } from '../output.ts'

type Result = { state: 'ok' | 'warning' | 'fault'; detail: string; fix?: string }
type Check = Result & { name: string }

const ok = (detail: string): Result => ({ state: 'ok', detail })
const warning = (detail: string, fix: string): Result => ({ state: 'warning', detail, fix })
const fault = (detail: string, fix: string): Result => ({ state: 'fault', detail, fix })

const DAY_MS = 86_400_000
const MAX_CLOCK_DIFFERENCE_MS = 5_000
const MAX_SWEEP_AGE_MS = 3 * 3_600_000
const MAX_BACKUP_AGE_MS = 7 * DAY_MS
const MIN_FREE_SHARE = 0.1
const MIN_FREE_BYTES = 2 ** 30

export const doctor: Command = {
  command: 'doctor',
  describe: 'Check the installation on this machine, and say how to fix each problem',
  async run(options) {
    const checks = await examine()
    print(options, checks, () => checks.map(draw).join('\n'))
    return checks.some(({ state }) => state === 'fault') ? EXIT.failed : EXIT.done
  },
}

const SIGNS = { ok: style('green', '✓'), warning: style('yellow', '!'), fault: style('red', '✗') }

const draw = ({ name, state, detail, fix }: Check) =>
  `${SIGNS[state]} ${style('bold', name.padEnd(14))} ${detail}${fix ? `\n  ${' '.repeat(14)} ${style('dim', '→')} ${fix}` : ''}`

async function examine(): Promise<Check[]> {
  const checks: Check[] = []
  const add = async (name: string, check: () => Promise<Result | Result[]>) => {
    const results = await check().catch((error: Error) =>
      fault(
        stripVTControlCharacters(error.message),
        'Correct what the message says, and run hasty doctor again.',
      ),
    )
    checks.push(...[results].flat().map((result) => ({ name, ...result })))
  }

  let config: Config | undefined
  await add('Configuration', async () => {
    config = await readLocalConfig()
    return ok('all variables have valid values')
  })
  if (!config) return checks
  const given = config
  await add('Disk', () => checkDisks(given))
  await add('Object stores', () => checkObjectStores(given))
  await add('Decoders', () => checkDecoders())
  await add('Database', async () => {
    if (given.databaseUrl === undefined && !existsSync(join(given.dataDir, 'db')))
      return fault(
        `${given.dataDir} has no database yet`,
        'Start the service once (npm start), or correct DATA_DIR.',
      )
    const schema = judgeSchema(await readPendingMigrations(given, { attach: true }))
    checks.push({ name: 'Schema', ...schema })
    // The other checks read tables that the migrations may add.
    const kind = given.databaseUrl === undefined ? `embedded, in ${given.dataDir}` : 'answers'
    if (schema.state !== 'ok') return ok(kind)
    const stores = await openStores(given, { attach: true })
    try {
      for (const [name, check] of Object.entries(STORE_CHECKS)) await add(name, () => check(stores, given))
    } finally {
      await stores.close()
    }
    return ok(
      given.databaseUrl === undefined ? `embedded, in ${given.dataDir}` : 'answers, and can be written to',
    )
  })
  return checks
}

/** Judges the schema by the versions that are not applied yet. */
export const judgeSchema = (pending: number[]): Result =>
  pending.length === 0
    ? ok('up to date')
    : warning(
        `these migrations are pending: ${pending.join(', ')}`,
        'Run npm run migrate, or start the new version. Then run hasty doctor again.',
      )

/** The checks that need the database, by their names. */
export const STORE_CHECKS: Record<string, (stores: Stores, config: Config) => Promise<Result>> = {
  Broker: async ({ queue }, { queueUrls }) => {
    const waiting = `${count(await queue.waiting())} images wait for a worker`
    if (!queueUrls) return ok(`none: workers ask the database; ${waiting}`)
    if (queue.isConnected) return ok(`JetStream is connected; ${waiting}`)
    return fault(
      `${queueUrls.map(({ host }) => host).join(', ')} does not answer as JetStream; ${waiting}`,
      'Start the broker with JetStream, or correct QUEUE_URL. Meanwhile workers ask the database more often.',
    )
  },
  Clock: async ({ data }) => {
    const difference = Math.abs((await data.lifecycle.now()).getTime() - Date.now())
    return difference < MAX_CLOCK_DIFFERENCE_MS
      ? ok("this machine's clock is the database's")
      : fault(
          `the clocks of this machine and of the database differ by ${Math.round(difference / 1000)} s`,
          'Synchronise both with NTP: links would expire too early or too late.',
        )
  },
  Sweep: async ({ data }) => {
    const last = await data.sweeps.last()
    if (!last)
      return warning('there was no sweep yet', 'Run a worker (npm start has one), or run: hasty sweep')
    const at = `the last one ended on ${time(last.finishedAt.toISOString())}`
    if (last.summary.missing > 0 || last.summary.faulty > 0)
      return fault(`${at} and found missing or damaged objects`, 'Run: hasty images list --fault missing')
    return last.age < MAX_SWEEP_AGE_MS ? ok(at) : warning(at, 'Check that a worker runs, and its log.')
  },
  Verification: async (stores) => {
    const state = await readVerifyState(stores)
    if (!state)
      return warning(
        'no stored object was verified yet',
        'A worker does it in the background. Or run: hasty verify',
      )
    const progress = state.finishedAt
      ? `the last pass ended on ${time(state.finishedAt)}`
      : `a pass has read ${count(state.images)} images`
    return state.mismatches + state.missing > 0
      ? fault(`${progress} and found damaged or missing objects`, 'Run: hasty images list --fault mismatch')
      : ok(progress)
  },
  Backup: async ({ data }) => {
    const last = await data.jobState.read('backup')
    if (!last)
      return warning('there is no backup made by hasty backup', 'Run: hasty backup --to FOLDER or s3://…')
    const at = `the last one was made on ${time(last.at.toISOString())}`
    return last.age < MAX_BACKUP_AGE_MS
      ? ok(at)
      : warning(at, 'Run hasty backup every day, for example by cron.')
  },
}

async function checkDisks({ dataDir, regions }: Config): Promise<Result[]> {
  const folders = new Map([[dataDir, 'DATA_DIR']])
  for (const { hot, cold } of regions)
    for (const url of [hot, cold])
      if (url?.protocol === 'file:' && existsSync(fileURLToPath(url)))
        folders.set(fileURLToPath(url), 'objects')
  const seen = new Set<number>()
  const results: Result[] = []
  for (const [folder, name] of folders) {
    const { type, blocks, bavail, bsize } = await statfs(folder)
    const key = type * 31 + blocks
    if (seen.has(key)) continue
    seen.add(key)
    results.push(judgeDisk(`${folder} (${name})`, { free: bavail * bsize, size: blocks * bsize }))
  }
  return results
}

/**
 * Checks the free space of a disk.
 *
 * @param disk bytes
 */
export function judgeDisk(name: string, { free, size }: { free: number; size: number }): Result {
  const detail = `${bytes(free)} of ${bytes(size)} are free in ${name}`
  if (free === 0) return fault(detail, 'Free some space, or use a larger disk: no upload is accepted now.')
  return free < MIN_FREE_BYTES || free < size * MIN_FREE_SHARE
    ? warning(detail, 'Free some space, or use a larger disk: a full disk stops all uploads.')
    : ok(detail)
}

async function checkObjectStores(config: Config): Promise<Result[]> {
  const { all } = await openObjectStores(config)
  return Promise.all(
    all.map(async ({ location, store }): Promise<Result> => {
      const name = describeLocation(location)
      try {
        if (hasCheck(store)) await store.check()
        if ((await store.readInstallation()) === undefined)
          return warning(`the store of ${name} is new`, 'The first start of the service prepares it.')
        await store.ping()
        return ok(`the store of ${name} can be used`)
      } catch (error) {
        return fault(
          `the store of ${name}: ${(error as Error).message}`,
          'Check its URL, its credentials, and that it is mounted.',
        )
      }
    }),
  )
}

// One black pixel.
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=='
const DECODE_MS = 20_000

/**
 * Reads a small PNG.
 *
 * @param reader is closed afterwards
 */
export async function checkDecoders(
  reader: Pick<ImageReader, 'of' | 'close'> = createImageReader({ log, milliseconds: DECODE_MS }),
): Promise<Result> {
  const { level } = await detectSandbox()
  try {
    const image = await reader
      .of('doctor')
      .read({ format: 'PNG', mediaType: 'image/png' }, async () => [Buffer.from(PNG, 'base64')])
      .catch((error: Error) => error)
    if (image instanceof Error || typeof image !== 'object' || image.width !== 1) {
      const reason = image instanceof Error ? `: ${stripVTControlCharacters(image.message)}` : ''
      return fault(`a decoder cannot read a small PNG${reason}`, 'Install the dependencies again: npm ci')
    }
    return level === 'namespaces'
      ? ok('work, isolated by bubblewrap')
      : warning(
          `work, isolated only by ${level}`,
          'Install bubblewrap, or allow user namespaces (docs/threat-model.md).',
        )
  } finally {
    await reader.close()
  }
}
