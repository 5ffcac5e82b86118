import { type Static, Type } from 'typebox'

const count = (description: string) => Type.Integer({ minimum: 0, description })

/** The result of a sweep. With --dry-run, the result that it would have. */
export const SweepSummary = Type.Object({
  objects: count('Objects in all stores'),
  orphans: count('Objects without an image that were moved to the trash'),
  trashDeleted: count('Objects in the trash that were deleted after TRASH_FOR'),
  trashRestored: count('Objects moved back from the trash because their image needs them'),
  adopted: count('Objects without an image that became images (--adopt)'),
  leftovers: count('Unfinished uploads, and objects of removed images, that were deleted'),
  copies: count('Objects that were deleted because the image is in another store'),
  variants: count('Objects of variants that no image has any more, that were deleted'),
  missing: count('Images whose object is missing'),
  faulty: count('Images whose object is known to be damaged or missing, since it was verified'),
  archived: count('Images moved to the cold store'),
  restored: count('Images moved back to the hot store'),
  moveFailures: count('Images that could not be moved, for example because their object has changed'),
  notAccessed: count('Images removed because nobody accessed them in DELETE_AFTER'),
  corrupt: count('Corrupt images removed after CORRUPT_GRACE'),
  announced: count('Waiting images that were announced to the workers again'),
  expiredLeases: count('Leases of dead workers that were ended'),
  expiredUploads: count('Unfinished resumable uploads that were deleted after RESUME_WITHIN'),
  foldedDays: count('Days whose upload counts were folded into one row'),
  auditEntries: count('Entries of the audit log that were deleted after a year'),
  failedSteps: count('Steps of the sweep that failed'),
  durationMs: count('Duration of the sweep in milliseconds'),
})
export type SweepSummary = Static<typeof SweepSummary>
