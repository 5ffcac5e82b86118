import { Type } from 'typebox'

/** What the name of a region looks like, as a part of a pattern. */
export const REGION = '[a-z0-9][a-z0-9-]{0,31}'

export const Region = Type.String({
  pattern: `^${REGION}$`,
  description: 'where the bytes are kept; only where the service has regions',
  examples: ['eu'],
})
