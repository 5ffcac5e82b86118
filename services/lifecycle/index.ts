import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../../config.ts'
import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { LiveImage, Removed } from '../../stores/data/lifecycle.ts'
import type { Stores } from '../../stores/index.ts'
import type { Tier } from '../../stores/storage-location.ts'
import { lastAccessTolerance } from '../images/last-access.ts'
import { copyObject } from './copy-object.ts'
import { reconcile } from './reconcile.ts'
import { LIMIT, type Log, type SweepContext } from './sweep-context.ts'

const HOUR_MS = 3_600_000
// Three leases of a worker: what is due for so long, nobody has been told of.
const UNCLAIMED_MS = 180_000
// One image that can't be moved holds no other up; but where so many can't, the store is to blame.
const MAX_UNMOVABLE = 100

type LifecycleConfig = Pick<Config, 'archiveAfter' | 'deleteAfter' | 'sweepGrace' | 'corruptGrace'>

/**
 * What happens to images after they have come in: what is nobody's goes, what nobody asks for is archived or removed,
 * what was lost sight of is found again.
 */
export function createLifecycle({
  stores,
  log,
  config: { archiveAfter, deleteAfter, sweepGrace, corruptGrace },
}: {
  stores: Stores
  log: Log
  config: LifecycleConfig
}) {
  const { data, objects, queue } = stores
  const slack = lastAccessTolerance({ archiveAfter, deleteAfter })

  return {
    /**
     * Tidies up once, and tells what it did; undefined where another process of the installation does so at the
     * moment. A step that fails is logged and counted, and the others go on. It can be killed at any moment: the next
     * sweep goes on from there.
     *
     * @param dryRun to change nothing: the summary tells what would be done, as far as one step does not follow from
     *   another
     * @param force to delete objects without an image though they are more than those with one
     * @throws {LeaseLost} or the reason of `signal`, when the sweep ended before its end
     */
    sweep,

    /**
     * Sweeps about once an hour (`every`, in milliseconds), until `signal` is aborted and the sweep that goes on has
     * stopped. Each worker has such a timer; so a sweep is left out that would come soon after that of another.
     */
    async sweepPeriodically(signal: AbortSignal, every = HOUR_MS): Promise<void> {
      for (;;) {
        await sleep(every * (0.9 + Math.random() / 5), undefined, { signal }).catch(() => {})
        if (signal.aborted) return
        try {
          const last = await data.sweeps.last()
          if (!last || last.age > every / 2) await sweep({ signal })
        } catch (error) {
          if (!signal.aborted) log.error({ err: error }, 'the sweep failed')
        }
      }
    },
  }

  async function sweep({
    dryRun = false,
    force = false,
    signal,
  }: {
    dryRun?: boolean
    force?: boolean
    signal: AbortSignal
  }): Promise<SweepSummary | undefined> {
    // What changes nothing needs no lease.
    if (dryRun) return run({ dryRun, force, signal, check: () => signal.throwIfAborted() })
    const done = await data.withLease('sweep', async (held) => {
      const check = () => {
        signal.throwIfAborted()
        held.check()
      }
      const summary = await run({ dryRun, force, signal: AbortSignal.any([signal, held.signal]), check })
      await data.sweeps.save(summary)
      return summary
    })
    if (!done) log.info({}, 'another process sweeps')
    return done?.result
  }

  async function run({
    force,
    ...given
  }: { force: boolean } & Pick<SweepContext, 'dryRun' | 'signal' | 'check'>): Promise<SweepSummary> {
    const startedAt = performance.now()
    const context: SweepContext = { stores, log, summary: emptySummary(), ...given }
    const { summary } = context
    const steps: Record<string, (context: SweepContext) => Promise<void>> = {
      leases: endDeadLeases,
      announcements: announce,
      corrupt: removeCorrupt,
      unasked: removeNotAccessed,
      archive,
      restore,
      objects: (context) => reconcile(context, { grace: sweepGrace, force }),
      counts: foldDays,
    }
    for (const [step, take] of Object.entries(steps)) {
      context.check()
      try {
        await take(context)
      } catch (error) {
        context.check()
        log.error({ err: error, step }, 'a step of the sweep failed')
        summary.failures++
      }
    }
    summary.milliseconds = Math.round(performance.now() - startedAt)
    log.info({ dryRun: context.dryRun, ...summary }, context.dryRun ? 'would sweep' : 'swept')
    return summary
  }

  async function endDeadLeases({ dryRun, summary }: SweepContext) {
    const { deadLeases, endDeadLeases } = data.lifecycle
    summary.leases = await (dryRun ? deadLeases : endDeadLeases)({ milliseconds: UNCLAIMED_MS })
  }

  async function announce({ dryRun, summary }: SweepContext) {
    const ids = await data.images.unclaimed({ olderThan: UNCLAIMED_MS, limit: LIMIT })
    if (!dryRun) for (const id of ids) queue.announce(id)
    summary.announced = ids.length
  }

  async function removeCorrupt({ dryRun, summary }: SweepContext) {
    const old = { milliseconds: corruptGrace, limit: LIMIT }
    const images = await (dryRun ? data.lifecycle.corrupt(old) : data.lifecycle.removeCorrupt(old))
    summary.corrupt = images.length
    if (!dryRun) await deleteObjects(images)
  }

  async function removeNotAccessed({ dryRun, summary }: SweepContext) {
    if (deleteAfter === undefined) return
    const old = { milliseconds: deleteAfter + slack, limit: LIMIT }
    const images = await (dryRun ? data.lifecycle.notAccessed(old) : data.lifecycle.removeNotAccessed(old))
    summary.unasked = images.length
    if (!dryRun) await deleteObjects(images)
  }

  /** Deletes the objects of removed images. Where that ends in the middle, the rest are orphans. */
  async function deleteObjects(images: Removed[]) {
    for (const { id, region } of images) for (const store of objects.of(region)) await store.delete(id)
  }

  async function archive(context: SweepContext) {
    if (archiveAfter === undefined) return
    const images = await data.lifecycle.hotNotAccessed({
      regions: objects.archiving,
      milliseconds: archiveAfter + slack,
      limit: LIMIT,
    })
    for (const image of images) await move(context, image, 'cold')
  }

  /** Without a time to archive after, nothing belongs into the cold store: all comes back. */
  async function restore(context: SweepContext) {
    const images = await data.lifecycle.coldAccessedSince({
      regions: objects.archiving,
      milliseconds: archiveAfter,
      limit: LIMIT,
    })
    for (const image of images) await move(context, image, 'hot')
  }

  /**
   * Moves the object of an image to the other store of its region: copy, read back, change the row, delete. Whatever ends it in
   * between, the row names a store that has the object whole; what is left in the other is a copy, which goes when the
   * image is moved again, or else with what is stray.
   */
  async function move({ dryRun, summary, check }: SweepContext, image: LiveImage, to: Tier) {
    check()
    const counted = to === 'cold' ? 'archived' : 'restored'
    if (dryRun) {
      summary[counted]++
      return
    }
    const from = objects.at(image)
    try {
      await copyObject(image, from, objects.at({ ...image, tier: to }))
    } catch (error) {
      log.error({ err: error, imageId: image.id }, 'an image can not be moved')
      if (++summary.unmovable >= MAX_UNMOVABLE) throw new Error('too many images can not be moved')
      return
    }
    check()
    if (!(await data.lifecycle.move(image.id, to))) return
    await from.delete(image.id)
    summary[counted]++
  }

  async function foldDays({ dryRun, summary, check }: SweepContext) {
    const days = await data.lifecycle.daysToFold(LIMIT)
    for (const day of days) {
      check()
      if (!dryRun) await data.lifecycle.foldDay(day)
      summary.days++
    }
  }
}

const emptySummary = (): SweepSummary => ({
  objects: 0,
  orphans: 0,
  leftovers: 0,
  copies: 0,
  missing: 0,
  unmovable: 0,
  archived: 0,
  restored: 0,
  unasked: 0,
  corrupt: 0,
  announced: 0,
  leases: 0,
  days: 0,
  failures: 0,
  milliseconds: 0,
})
