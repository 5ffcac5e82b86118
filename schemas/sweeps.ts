import { type Static, Type } from 'typebox'

const count = (description: string) => Type.Integer({ minimum: 0, description })

/** What a sweep found and did, or with --dry-run would have done. */
export const SweepSummary = Type.Object({
  objects: count('objects that the stores hold'),
  orphans: count('objects deleted that belong to no image'),
  leftovers: count('uploads deleted that were cut off'),
  copies: count('objects deleted whose image lies in another store'),
  missing: count('images whose object is gone'),
  unmovable: count('images that could not be moved, as where their object has other bytes than came in'),
  archived: count('images moved to the cold store'),
  restored: count('images moved back'),
  unasked: count('images removed because nobody asked for them'),
  corrupt: count('images removed because they are damaged'),
  announced: count('pending images announced again'),
  leases: count('leases ended that dead workers had'),
  days: count('days whose counts were folded'),
  failures: count('steps of the sweep that failed'),
  milliseconds: count('how long it took'),
})
export type SweepSummary = Static<typeof SweepSummary>
