import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

// W3C Trace Context: version, trace id, parent id, flags. Zeros are no id.
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
// Nothing that could forge a line of a log. A name of 48 letters and digits could be the id of a link or an image.
const REQUEST_ID = /^(?![0-9A-Za-z]{48}$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Creates the function that gives each request its id: from `traceparent` or `X-Request-Id` if it is valid, or a new one. */
export function createRequestIds() {
  const prefix = randomBytes(4).toString('hex')
  let count = 0
  return ({ headers }: { headers: IncomingHttpHeaders }): string => {
    const { traceparent, 'x-request-id': given } = headers
    const [, trace] = (typeof traceparent === 'string' && TRACEPARENT.exec(traceparent)) || []
    if (trace) return trace
    if (typeof given === 'string' && REQUEST_ID.test(given)) return given
    return `${prefix}-${(++count).toString(36)}`
  }
}
