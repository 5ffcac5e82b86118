import { Type } from 'typebox'

const examples = ['Vd0GtqSUWC3UzXiRwcbKgJ9bQdvHqLkEYoV1WnTFpzA5xmNs']

/** 48 letters and digits from a cryptographic generator: 285 bits. */
export const Id = Type.String({ pattern: '^[0-9A-Za-z]{48}$', examples })

/** An id in a path. It has no pattern, so that a malformed id is answered with 404, like an unknown one. */
export const IdParams = Type.Object({
  id: Type.String({ description: 'An id: 48 letters and digits.', examples }),
})
