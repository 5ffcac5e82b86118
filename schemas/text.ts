/** Matches one line of text: no control characters. PostgreSQL's text type can't store NUL. */
export const LINE = '^[^\\x00-\\x1f\\x7f]*$'
/** Matches several lines of text: no control characters but tabs and line ends. */
export const LINES = '^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]*$'
