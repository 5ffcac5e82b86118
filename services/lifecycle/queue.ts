import { LIMIT, type SweepContext } from './sweep-context.ts'

/** Three leases of a worker: if an image is overdue this long, its notification was probably lost. */
const UNCLAIMED_MS = 180_000

/** Ends leases that expired long ago, so that a late verdict of their workers does not count. */
export async function endExpiredLeases({ stores, dryRun, summary }: SweepContext) {
  const { deadLeases, endDeadLeases } = stores.data.lifecycle
  summary.expiredLeases = await (dryRun ? deadLeases : endDeadLeases)({ milliseconds: UNCLAIMED_MS })
}

/** Announces waiting images again that no worker has leased. */
export async function announceUnclaimed({ stores, dryRun, summary }: SweepContext) {
  const ids = await stores.data.imageLeases.overdue({ milliseconds: UNCLAIMED_MS, limit: LIMIT })
  if (!dryRun) for (const id of ids) stores.queue.announce(id)
  summary.announced = ids.length
}
