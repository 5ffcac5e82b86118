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
const TIMEOUT_MS = 2_000

/**
 * Creates the metrics that are the same in every process: most are read from the database. While it does not respond, they
 * are NaN, or absent if they have labels.
 */
export function createSharedMetrics(
  { data, queue }: Pick<Stores, 'data' | 'queue'>,
  config: Pick<Config, 'dataDir' | 'regions'>,
): Registry {
  const register = new Registry()
  addProcessMetrics(register)
  addQueueMetrics(register, { data, queue })
  addStorageMetrics(register, data, config)
  addTaskMetrics(register, data)
  return register
}

/** Adds a metric with one number. `read` resolves with undefined if it is not known. */
function addGauge(register: Registry, name: string, help: string, read: () => Promise<number | undefined>) {
  new Gauge({
    name,
    help,
    registers: [register],
    async collect() {
      this.set((await read()) ?? Number.NaN)
    },
  })
}

interface Labelled<Row> {
  name: string
  help: string
  labels: string[]
  /** Resolves with undefined if nothing is known. */
  read(): Promise<Row[] | undefined>
  show(row: Row): [labels: Record<string, string>, value: number]
}

/** Adds a metric with a number for each combination of labels. */
function addGauges<Row>(register: Registry, { name, help, labels, read, show }: Labelled<Row>) {
  new Gauge({
    name,
    help,
    labelNames: labels,
    registers: [register],
    async collect() {
      const rows = (await read()) ?? []
      this.reset()
      for (const row of rows) this.set(...show(row))
    },
  })
}

function addProcessMetrics(register: Registry) {
  addGauges(register, {
    name: 'hasty_build_info',
    help: 'The version of Hasty',
    labels: ['version'],
    read: async () => [pkg.version],
    show: (version) => [{ version }, 1],
  })
  addGauges(register, {
    name: 'hasty_decoder_isolation',
    help: '1 for the level by which the processes that read images are isolated (docs/threat-model.md)',
    labels: ['level'],
    read: async () => [await detectSandbox()],
    show: ({ level }) => [{ level }, 1],
  })
}

function addQueueMetrics(register: Registry, { data, queue }: Pick<Stores, 'data' | 'queue'>) {
  addGauge(register, 'hasty_waiting_images', 'Images that wait for a worker', () =>
    withTimeout(queue.waiting()),
  )
  addGauge(
    register,
    'hasty_oldest_waiting_image_age_seconds',
    'How long the oldest waiting image has waited; 0 if none waits',
    async () => {
      const age = await withTimeout(data.imageLeases.oldestWaitingAge())
      return age && age / 1000
    },
  )
  addGauge(register, 'hasty_unfinished_uploads', 'Resumable uploads that can be continued', () =>
    withTimeout(data.resumable.countUnfinished()),
  )
}

function addStorageMetrics(
  register: Registry,
  data: Stores['data'],
  config: Pick<Config, 'dataDir' | 'regions'>,
) {
  const disks = shareConcurrent(() => readDisks(config))
  addGauges(register, {
    name: 'hasty_disk_free_bytes',
    help: 'Bytes that this service can still write to the disks of its files',
    labels: ['disk'],
    read: disks,
    show: ({ disk, free }) => [{ disk }, free],
  })
  addGauges(register, {
    name: 'hasty_disk_size_bytes',
    help: 'Size of the disks of its files',
    labels: ['disk'],
    read: disks,
    show: ({ disk, size }) => [{ disk }, size],
  })
  const stored = shareConcurrent(() => withTimeout(data.stats.stored()))
  addGauges(register, {
    name: 'hasty_stored_images',
    help: 'Images by region and tier',
    labels: ['region', 'tier'],
    read: stored,
    show: ({ region, tier, images }) => [{ region, tier }, images],
  })
  addGauges(register, {
    name: 'hasty_stored_bytes',
    help: 'Bytes of images by region and tier',
    labels: ['region', 'tier'],
    read: stored,
    show: ({ region, tier, bytes }) => [{ region, tier }, bytes],
  })
}

/** The periodic tasks: the sweep, the verification and others. */
function addTaskMetrics(register: Registry, data: Stores['data']) {
  const lastSweep = shareConcurrent(() => withTimeout(data.sweeps.last()))
  const verify = shareConcurrent(() => withTimeout(readVerifyState({ data })))
  addGauges(register, {
    name: 'hasty_job_last_success_timestamp_seconds',
    help: 'Unix time at which a periodic task last ended without a fault',
    labels: ['task'],
    async read() {
      const finishedAt = (await verify())?.finishedAt
      return [
        ...((await withTimeout(data.sweeps.successes())) ?? []),
        ...(finishedAt ? [{ name: 'verify', finishedAt: new Date(finishedAt) }] : []),
      ]
    },
    show: ({ name, finishedAt }) => [{ task: name }, finishedAt.getTime() / 1000],
  })
  addGauge(
    register,
    'hasty_last_sweep_timestamp_seconds',
    'Unix time at which the last sweep ended',
    async () => {
      const last = await lastSweep()
      return last && last.finishedAt.getTime() / 1000
    },
  )
  addGauge(register, 'hasty_last_sweep_duration_seconds', 'Duration of the last sweep', async () => {
    const last = await lastSweep()
    return last && last.summary.durationMs / 1000
  })
  addGauges(register, {
    name: 'hasty_last_sweep_items',
    help: 'Items that the last sweep found or changed, by kind',
    labels: ['kind'],
    read: async () =>
      Object.entries((await lastSweep())?.summary ?? {}).filter(([kind]) => kind !== 'durationMs'),
    show: ([kind, count]) => [{ kind }, count],
  })
  addGauges(register, {
    name: 'hasty_verify_items',
    help: 'What the current or the last verification of objects found, by kind',
    labels: ['kind'],
    async read() {
      const state = await verify()
      return (
        state &&
        (['images', 'mismatches', 'missing', 'restored'] as const).map((kind) => [kind, state[kind]] as const)
      )
    },
    show: ([kind, count]) => [{ kind }, count],
  })
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

/** Resolves with undefined if a query or another reading fails, or takes longer than 2 s. */
async function withTimeout<T>(reading: Promise<T>): Promise<T | undefined> {
  const timeout = new AbortController()
  const expired = sleep(TIMEOUT_MS, undefined, { signal: timeout.signal }).catch(() => undefined)
  return Promise.race([reading.catch(() => undefined), expired]).finally(() => timeout.abort())
}
