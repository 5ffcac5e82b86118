import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fp from 'fastify-plugin'

// The worst mobile connections have about 5 KB/s.
const LEAST_BYTES_PER_SECOND = 1024
const CHECKS_PER_TIMEOUT = 6

/**
 * Options of Node's HTTP server: a connection whose header is not complete in time gets 408 and is closed.
 *
 * @param timeout milliseconds
 */
export const headerTimeouts = (timeout: number) => ({
  headersTimeout: timeout,
  requestTimeout: 0, // a large upload takes longer than any fixed limit
  connectionsCheckingInterval: Math.round(timeout / CHECKS_PER_TIMEOUT),
})

/**
 * Closes connections of clients that send a body too slowly, or that read nothing of a response during CLIENT_TIMEOUT.
 * A client is never closed because the service itself is slow.
 */
export default fp(
  async (app) => {
    const { clientTimeout } = app.config
    const bodies = new Set<Body>()

    // Node destroys an idle socket after this time, unless the request, the response or the server has a listener for
    // `timeout` (https://nodejs.org/api/http.html#responsesettimeoutmsecs-callback).
    app.server.setTimeout(clientTimeout)
    app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      response.on('timeout', destroyIfUnread)
      const { 'content-length': length, 'transfer-encoding': coding } = request.headers
      if (!length && !coding) return
      const body = startBody(request, response)
      bodies.add(body)
      // An entry holds the request and the response in memory. Remove it immediately.
      request.once('close', () => bodies.delete(body))
    })

    const checking = setInterval(() => {
      for (const body of bodies) {
        if (!body.request.complete && isTooSlow(body, clientTimeout)) closeSlow(body, app.server)
      }
    }, clientTimeout / CHECKS_PER_TIMEOUT)
    app.addHook('onClose', async () => clearInterval(checking))
  },
  { name: 'slow-clients', dependencies: ['config'] },
)

/** The client has not read what was written to the socket. With nothing written, the response is being prepared. */
function destroyIfUnread(socket: Socket) {
  if (socket.writableLength > 0) socket.destroy()
}

/** The body of a request in progress, and the bytes that the socket had received at the start of the measured period. */
interface Body {
  request: IncomingMessage
  response: ServerResponse
  /** Milliseconds, of `performance.now()`. */
  since: number
  bytes: number
}

const startBody = (request: IncomingMessage, response: ServerResponse): Body => ({
  request,
  response,
  since: performance.now(),
  bytes: request.socket.bytesRead,
})

function isTooSlow(body: Body, timeout: number) {
  const { request, since, bytes } = body
  const now = performance.now()
  const milliseconds = now - since
  // The service does not read on, so the client has to wait. The measured period starts again.
  const isHeld = request.readableLength >= request.readableHighWaterMark
  if (!isHeld && milliseconds < timeout) return false
  const received = request.socket.bytesRead - bytes
  Object.assign(body, { since: now, bytes: request.socket.bytesRead })
  return !isHeld && received < (LEAST_BYTES_PER_SECOND * milliseconds) / 1000
}

/** Sends the same 408 as for a slow header, unless a response has already begun. */
function closeSlow({ request: { socket }, response }: Body, server: Server) {
  if (response.headersSent) socket.destroy()
  else
    server.emit(
      'clientError',
      Object.assign(new Error('the body is sent too slowly'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }),
      socket,
    )
}
