import { statfs } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Gauge, Registry } from '@prometheus-io/client'
import type { Config } from '../../config.ts'
import pkg from '../../package.json' with { type: 'json' }
import { detectSandbox } from '../../services/analysis/sandbox/levels.ts'
import { readVerifyState } from '../../services/lifecycle/verify.ts'
import type { Stores } from '../../stores/index.ts'

// Prometheus gives up a scrape after 10 s by default.
const DATABASE_TIMEOUT_MS = 2_000

/**
 * Creates the metrics that are the same in every process: most are read from the database. They are NaN, or absent if they
 * have labels, while it does not answer.
 */
export function createSharedMetrics(
  { data, queue }: Pick<Stores, 'data' | 'queue'>,
  config: Pick<Config, 'dataDir' | 'regions'>,
): Registry {
  const register = new Registry()
  const registers = [register]
  const lastSweep = shareConcurrent(() => withTimeout(data.sweeps.last()))
  const stored = shareConcurrent(() => withTimeout(data.stats.stored()))
  const verify = shareConcurrent(() => withTimeout(readVerifyState({ data })))
  /** The periodic tasks that have ended without a fault. */
  const tasks = async () => {
    const finishedAt = (await verify())?.finishedAt
    return [
      ...((await withTimeout(data.sweeps.successes())) ?? []),
      ...(finishedAt ? [{ name: 'verify', finishedAt: new Date(finishedAt) }] : []),
    ]
  }

  const gauge = (name: string, help: string, read: () => Promise<number | undefined>) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set((await read()) ?? Number.NaN)
      },
    })
  const gauges = <Row>(
    name: string,
    help: string,
    labelNames: string[],
    read: () => Promise<Row[] | undefined>,
    show: (row: Row) => [Record<string, string>, number],
  ) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        const rows = (await read()) ?? []
        this.reset()
        for (const row of rows) this.set(...show(row))
      },
    })

  gauges(
    'hasty_build_info',
    'The version of Hasty',
    ['version'],
    async () => [pkg.version],
    (version) => [{ version }, 1],
  )
  gauges(
    'hasty_decoder_isolation',
    '1 for the level by which the processes that read images are isolated (docs/threat-model.md)',
    ['level'],
    async () => [await detectSandbox()],
    ({ level }) => [{ level }, 1],
  )
  gauge('hasty_waiting_images', 'Images that wait for a worker', () => withTimeout(queue.waiting()))
  gauge(
    'hasty_oldest_waiting_image_age_seconds',
    'How long the oldest waiting image has waited; 0 if none waits',
    async () => {
      const age = await withTimeout(data.imageLeases.oldestWaitingAge())
      return age && age / 1000
    },
  )
  gauge('hasty_unfinished_uploads', 'Resumable uploads that can be continued', () =>
    withTimeout(data.resumable.countUnfinished()),
  )
  const disks = shareConcurrent(() => readDisks(config))
  gauges(
    'hasty_disk_free_bytes',
    'Bytes that this service can still write to the disks of its files',
    ['disk'],
    disks,
    ({ disk, free }) => [{ disk }, free],
  )
  gauges('hasty_disk_size_bytes', 'Size of the disks of its files', ['disk'], disks, ({ disk, size }) => [
    { disk },
    size,
  ])
  const location = ({ region, tier }: { region: string; tier: string }) => ({ region, tier })
  gauges('hasty_stored_images', 'Images by region and tier', ['region', 'tier'], stored, (row) => [
    location(row),
    row.images,
  ])
  gauges('hasty_stored_bytes', 'Bytes of images by region and tier', ['region', 'tier'], stored, (row) => [
    location(row),
    row.bytes,
  ])
  gauges(
    'hasty_job_last_success_timestamp_seconds',
    'Unix time at which a periodic task last ended without a fault',
    ['task'],
    tasks,
    ({ name, finishedAt }) => [{ task: name }, finishedAt.getTime() / 1000],
  )
  gauge('hasty_last_sweep_timestamp_seconds', 'Unix time at which the last sweep ended', async () => {
    const last = await lastSweep()
    return last && last.finishedAt.getTime() / 1000
  })
  gauge('hasty_last_sweep_duration_seconds', 'Duration of the last sweep', async () => {
    const last = await lastSweep()
    return last && last.summary.durationMs / 1000
  })
  gauges(
    'hasty_last_sweep_items',
    'Items that the last sweep found or changed, by kind',
    ['kind'],
    async () => Object.entries((await lastSweep())?.summary ?? {}).filter(([kind]) => kind !== 'durationMs'),
    ([kind, count]) => [{ kind }, count],
  )
  gauges(
    'hasty_verify_items',
    'What the current or the last verification of objects found, by kind',
    ['kind'],
    async () => {
      const state = await verify()
      return (
        state &&
        (['images', 'mismatches', 'missing', 'restored'] as const).map((kind) => [kind, state[kind]] as const)
      )
    },
    ([kind, count]) => [{ kind }, count],
  )
  return register
}

/** The disks of DATA_DIR (`data`) and of each object store that keeps files (`hot`, `cold eu`). A missing one is absent. */
async function readDisks({ dataDir, regions }: Pick<Config, 'dataDir' | 'regions'>) {
  const stores = regions.flatMap(({ name, hot, cold }) => [
    [`hot ${name}`.trim(), hot] as const,
    ...(cold ? [[`cold ${name}`.trim(), cold] as const] : []),
  ])
  const folders = [
    ['data', dataDir] as const,
    ...stores
      .filter(([, url]) => url.protocol === 'file:')
      .map(([disk, url]) => [disk, fileURLToPath(url)] as const),
  ]
  const disks = folders.map(async ([disk, folder]) => {
    const found = await withTimeout(statfs(folder))
    return found ? [{ disk, free: found.bavail * found.bsize, size: found.blocks * found.bsize }] : []
  })
  return (await Promise.all(disks)).flat()
}

/** Gives concurrent callers the result of one call. */
function shareConcurrent<T>(call: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= call().finally(() => {
      running = undefined
    })
    return running
  }
}

/** Resolves with undefined if a query fails or takes longer than 2 s. */
async function withTimeout<T>(query: Promise<T>): Promise<T | undefined> {
  const timeout = new AbortController()
  const expired = sleep(DATABASE_TIMEOUT_MS, undefined, { signal: timeout.signal }).catch(() => undefined)
  return Promise.race([query.catch(() => undefined), expired]).finally(() => timeout.abort())
}
