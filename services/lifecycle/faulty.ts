import type { SweepContext } from './sweep-context.ts'

/** Reports images whose object was found damaged or missing when it was verified, until they are removed or repaired. */
export async function reportFaulty({ stores, summary, log }: SweepContext) {
  summary.faulty = await stores.data.lifecycle.faulty()
  if (summary.faulty > 0)
    log.error(
      { images: summary.faulty },
      'the objects of images are damaged or missing: hasty images list --fault',
    )
}
