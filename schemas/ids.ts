import { Type } from 'typebox'

/** 48 letters and digits from a cryptographic generator: 285 bits, not to be guessed. */
export const Id = Type.String({
  pattern: '^[0-9A-Za-z]{48}$',
  examples: ['Vd0GtqSUWC3UzXiRwcbKgJ9bQdvHqLkEYoV1WnTFpzA5xmNs'],
})
