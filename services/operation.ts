import type { Operation } from '../schemas/operation.ts'
import type { DataStore } from '../stores/data/data-store.ts'
import type { Readiness } from './readiness.ts'

/** The state of the service, for the admin. */
export function createOperation({
  data,
  readiness,
  version,
}: {
  data: DataStore
  readiness: Readiness
  version: string
}) {
  const readDatabase = async () => {
    const [waiting, oldest, counts, sweep] = await Promise.all([
      data.imageLeases.waiting(),
      data.imageLeases.oldestWaitingAge(),
      data.images.countByStatus(['pending', 'failed', 'corrupt']),
      data.sweeps.last(),
    ])
    return {
      queue: { waiting, ...(waiting > 0 && { oldestSeconds: Math.round(oldest / 1000) }) },
      images: counts,
      ...(sweep && { lastSweep: { finishedAt: sweep.finishedAt.toISOString(), summary: sweep.summary } }),
    }
  }

  return {
    async read(): Promise<Operation> {
      const unreachable = await readiness.faults()
      // Without this check, each call would wait for the database until its deadline.
      const isDatabaseOk = !unreachable.some((fault) => fault.includes('database'))
      return {
        version,
        node: process.versions.node,
        ...(isDatabaseOk && (await readDatabase())),
        unreachable,
      }
    },
  }
}
