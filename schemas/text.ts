/** Matches one line of text: no control characters. PostgreSQL's text type can't store NUL. */
export const LINE = '^[^\\x00-\\x1f\\x7f]*$'
