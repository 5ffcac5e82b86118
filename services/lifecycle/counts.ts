import { LIMIT, type SweepContext } from './sweep-context.ts'

/** Folds the upload counts of each past day into one row. */
export async function foldDays({ stores, dryRun, summary, check }: SweepContext) {
  const { lifecycle } = stores.data
  for (const day of await lifecycle.daysToFold(LIMIT)) {
    check()
    if (!dryRun) await lifecycle.foldDay(day)
    summary.foldedDays++
  }
}
