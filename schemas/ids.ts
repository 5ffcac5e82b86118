import { Type } from 'typebox'

const examples = ['Vd0GtqSUWC3UzXiRwcbKgJ9bQdvHqLkEYoV1WnTFpzA5xmNs']

/** 48 letters and digits from a cryptographic generator: 285 bits, not to be guessed. */
export const Id = Type.String({ pattern: '^[0-9A-Za-z]{48}$', examples })

/** An id in a path. What can't be one is answered like one that is unknown. */
export const IdParams = Type.Object({ id: Type.String({ description: '48 letters and digits', examples }) })
