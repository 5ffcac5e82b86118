import { type Static, Type } from 'typebox'

const count = (description: string) => Type.Integer({ minimum: 0, description })

/** The progress and the result of one pass over all stored objects. */
export const VerifyState = Type.Object({
  startedAt: Type.String({ format: 'date-time' }),
  finishedAt: Type.Optional(Type.String({ format: 'date-time' })),
  /** The pass continues after the image with this id, then after the variant with this key. */
  after: Type.String(),
  afterVariant: Type.String(),
  images: count('Images whose object was read'),
  bytes: count('Bytes that were read'),
  mismatches: count('Images whose object has another SHA-256, and no other store has the right object'),
  missing: count('Images whose object does not exist in any store'),
  restored: count('Objects that were restored from the other tier'),
  recovered: count('Images that were marked, and whose object is right again'),
  variants: count('Variants whose object was read'),
  removedVariants: count('Variants that were removed, because their object was damaged or missing'),
})
export type VerifyState = Static<typeof VerifyState>
