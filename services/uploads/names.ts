const MAX_CHARACTERS = 255

/**
 * A sender's file name that can be stored and shown, in Unicode's form NFC. Removed are control characters (PostgreSQL
 * has no NUL in texts) and characters that change the direction of text (UAX #9): with them exe.gnp could look like a
 * png. The invisible joiners of emoji and of some scripts stay.
 */
export const cleanName = (name: string): string =>
  [
    ...name
      .replace(/[\p{Cc}\p{Bidi_Control}]/gu, '')
      .trim()
      .normalize('NFC'),
  ]
    .slice(0, MAX_CHARACTERS)
    .join('')
    .toWellFormed()
