/** A pattern of text on one line: without control characters, of which PostgreSQL's text has no NUL. */
export const LINE = '^[^\\x00-\\x1f\\x7f]*$'
