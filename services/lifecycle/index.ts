import { setTimeout as sleep } from 'node:timers/promises'
import type { SweepSummary } from '../../schemas/sweeps.ts'
import type { Stores } from '../../stores/index.ts'
import { archive, restore } from './archive.ts'
import { forgetAudit } from './audit.ts'
import { foldDays } from './counts.ts'
import { reportFaulty } from './faulty.ts'
import { announceUnclaimed, endExpiredLeases } from './queue.ts'
import { reconcile } from './reconcile.ts'
import { removeCorrupt, removeNotAccessed } from './removal.ts'
import { removeExpiredUploads } from './resumable.ts'
import type { LifecycleConfig, Log, SweepContext, SweepOptions } from './sweep-context.ts'

const HOUR_MS = 3_600_000

/** The steps of a sweep, in their order. If one fails, the others continue. */
const STEPS: Record<string, (context: SweepContext) => Promise<void>> = {
  endExpiredLeases,
  announceUnclaimed,
  removeCorrupt,
  removeNotAccessed,
  archive,
  restore,
  removeExpiredUploads,
  reconcile,
  reportFaulty,
  foldDays,
  forgetAudit,
}

/** The life cycle of images after their upload: retention, the archive, and repairs after a process has died. */
export interface Lifecycle {
  /**
   * Does all steps once. Resolves with undefined if another process of the installation is sweeping. A step that fails is
   * logged and counted. The process may be killed at any moment: the next sweep continues.
   *
   * @throws {LeaseLost} if the lease was lost before the end
   * @throws the reason of `signal`, if it was aborted before the end
   */
  sweep(options: Partial<SweepOptions> & { signal: AbortSignal }): Promise<SweepSummary | undefined>

  /**
   * Sweeps about every `every` milliseconds, until `signal` is aborted and the current sweep has stopped. All workers have
   * this timer. A worker skips a sweep if another one has ended within half of that time.
   */
  sweepPeriodically(signal: AbortSignal, every?: number): Promise<void>
}

export function createLifecycle(parts: { stores: Stores; log: Log; config: LifecycleConfig }): Lifecycle {
  return {
    sweep: (options) => sweep(parts, options),
    sweepPeriodically: (signal, every = HOUR_MS) => sweepPeriodically(parts, signal, every),
  }
}

type Parts = Pick<SweepContext, 'stores' | 'log' | 'config'>

async function sweepPeriodically(parts: Parts, signal: AbortSignal, every: number) {
  const { stores, log } = parts
  for (;;) {
    await sleep(every * (0.9 + Math.random() / 5), undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    try {
      const last = await stores.data.sweeps.last()
      if (!last || last.age > every / 2) await sweep(parts, { signal })
    } catch (error) {
      if (!signal.aborted) log.error({ err: error }, 'the sweep failed')
    }
  }
}

async function sweep(
  parts: Parts,
  { signal, dryRun = false, force = false, adopt = false }: Partial<SweepOptions> & { signal: AbortSignal },
) {
  const { stores, log } = parts
  const context = { ...parts, dryRun, force, adopt, signal, summary: emptySummary() }
  // A dry run changes nothing and needs no lease.
  if (dryRun) return takeSteps({ ...context, check: () => signal.throwIfAborted() })
  const done = await stores.data.withLease('sweep', async (held) => {
    const check = () => {
      signal.throwIfAborted()
      held.check()
    }
    const summary = await takeSteps({
      ...context,
      signal: AbortSignal.any([signal, held.signal]),
      check,
    })
    await stores.data.sweeps.save(summary)
    return summary
  })
  if (!done) log.info({}, 'another process is sweeping')
  return done?.result
}

async function takeSteps(context: SweepContext) {
  const { summary, log, dryRun, check } = context
  const startedAt = performance.now()
  for (const [step, take] of Object.entries(STEPS)) {
    check()
    try {
      await take(context)
    } catch (error) {
      check()
      log.error({ err: error, step }, 'a step of the sweep failed')
      summary.failedSteps++
    }
  }
  summary.durationMs = Math.round(performance.now() - startedAt)
  log.info(
    { dryRun, ...summary },
    dryRun ? 'sweep finished (dry run: nothing was changed)' : 'sweep finished',
  )
  return summary
}

const emptySummary = (): SweepSummary => ({
  objects: 0,
  orphans: 0,
  trashDeleted: 0,
  trashRestored: 0,
  adopted: 0,
  leftovers: 0,
  copies: 0,
  variants: 0,
  missing: 0,
  faulty: 0,
  archived: 0,
  restored: 0,
  moveFailures: 0,
  notAccessed: 0,
  corrupt: 0,
  announced: 0,
  expiredLeases: 0,
  expiredUploads: 0,
  foldedDays: 0,
  auditEntries: 0,
  failedSteps: 0,
  durationMs: 0,
})
