import { Type } from 'typebox'

/** The name of a region, as part of a regular expression. */
export const REGION = '[a-z0-9][a-z0-9-]{0,31}'

export const Region = Type.String({
  pattern: `^${REGION}$`,
  description: 'The region that stores the image. Absent if the service has no regions.',
  examples: ['eu'],
})
