import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fp from 'fastify-plugin'

// A mobile connection at its worst brings some 5 KB/s.
const LEAST_BYTES_PER_SECOND = 1024
const CHECKS_PER_TIMEOUT = 6

/**
 * Options of Node's HTTP server, by which it ends connections whose header is not complete in time, with 408.
 *
 * @param timeout milliseconds
 */
export const headerTimeouts = (timeout: number) => ({
  headersTimeout: timeout,
  requestTimeout: 0, // a large upload takes its time
  connectionsCheckingInterval: Math.round(timeout / CHECKS_PER_TIMEOUT),
})

/**
 * Gives up clients that hold a connection and don't use it: whose body comes too slowly, or who read nothing of an answer
 * in CLIENT_TIMEOUT. For what the service itself is slow with, nobody is given up.
 */
export default fp(
  async (app) => {
    const { clientTimeout } = app.config
    const bodies = new Set<Body>()

    app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const { 'content-length': length, 'transfer-encoding': coding } = request.headers
      if (!length && !coding) return
      const body = startBody(request, response)
      bodies.add(body)
      // At once: it holds what the upload has held.
      request.once('close', () => bodies.delete(body))
    })

    // Not a byte went either way for so long. Who waits for an answer that is not there yet has nothing to send.
    app.server.setTimeout(clientTimeout, (socket: Serving) => {
      const waits = socket._httpMessage && socket.writableLength === 0
      if (!waits) socket.destroy()
    })

    const checking = setInterval(() => {
      for (const body of bodies) {
        if (!body.request.complete && isTooSlow(body, clientTimeout)) giveUp(body, app.server)
      }
    }, clientTimeout / CHECKS_PER_TIMEOUT)
    app.addHook('onClose', async () => clearInterval(checking))
  },
  { name: 'slow-clients', dependencies: ['config'] },
)

/** Node keeps the answer that a connection is at with it. To keep it here as well would make it live on until the next. */
interface Serving extends Socket {
  _httpMessage?: ServerResponse | null
}

/** The body of a request that is on its way, and how far it was at the begin of the time in which it is measured. */
interface Body {
  request: IncomingMessage
  response: ServerResponse
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
  // What has come is not taken further: the client has to wait.
  const held = request.readableLength >= request.readableHighWaterMark
  if (!held && milliseconds < timeout) return false
  const passed = request.socket.bytesRead - bytes
  Object.assign(body, { since: now, bytes: request.socket.bytesRead })
  return !held && passed < (LEAST_BYTES_PER_SECOND * milliseconds) / 1000
}

/** Has the server answer as it does to a header that takes too long, where no answer has begun. */
function giveUp({ request: { socket }, response }: Body, server: Server) {
  if (response.headersSent) socket.destroy()
  else
    server.emit(
      'clientError',
      Object.assign(new Error('the body comes too slowly'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }),
      socket,
    )
}
