import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

declare module 'http' {
  interface Server {
    /** Node has this property without documentation or type (`lib/_http_server.js`). */
    httpAllowHalfOpen: boolean
  }
}

/** Limits for a body that is read only to drop it. */
interface DropLimits {
  bytes: number
  /** Milliseconds in total. */
  total: number
  /** Milliseconds without a byte. */
  idle: number
}

const MiB = 2 ** 20
// Before the response. A slower client is closed by plugins/slow-clients.ts.
const BEFORE: DropLimits = { bytes: 128 * MiB, total: 30_000, idle: 30_000 }
// The limits if there are too many requests. A client that stops sending must not occupy a place for longer.
const BEFORE_REFUSAL: DropLimits = { ...BEFORE, idle: 250 }
// After the response, if the body was larger. nginx has the same times: lingering_time, lingering_timeout.
const AFTER: DropLimits = { bytes: 128 * MiB, total: 30_000, idle: 5_000 }
// After the response to a client that waits for 100 (Continue). Usually it sends no body and closes the connection.
const AFTER_EXPECTATION: DropLimits = { bytes: MiB, total: 5_000, idle: 1_000 }

/** Clients that wait for 100 (Continue) before they send the body. */
const waiting = new WeakSet<IncomingMessage>()
/** Refused requests whose bodies reached a limit of `BEFORE_REFUSAL`. */
const slow = new WeakSet<IncomingMessage>()
/** Requests whose rest was read, or will be read after the response. After an error in a hook, this hook runs again. */
const settled = new WeakSet<IncomingMessage>()

/**
 * Delivers each response, also one that is ready before the request was received. Many clients and proxies read the
 * response only after they have sent the whole request, and a connection that is closed while data arrives is reset,
 * which can destroy the response on its way (RFC 9112 §9.6). Therefore the rest of the body is read first, and if it is
 * larger than the limit, it is read for some time after the response.
 */
export default fp(
  async (app) => {
    // A client may close its side of the connection after the request and still read the response.
    app.server.httpAllowHalfOpen = true

    // A client that waits before it sends the body gets 100 (Continue) when the service reads the body, not before.
    app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      waiting.add(request)
      request.once('resume', () => {
        if (!response.headersSent && waiting.delete(request)) response.writeContinue()
      })
      app.server.emit('request', request, response)
    })
    app.addHook('onSend', (request, reply, payload, done) => {
      if (!isReceiving(request.raw) || settled.has(request.raw)) return done(null, payload)
      settled.add(request.raw)
      receiveFirst(request, reply, payload).then((result) => done(null, result), done)
    })
  },
  { name: 'delivery' },
)

/** Reads the rest of the body of a request for which no hook runs. */
export async function receiveBody(request: IncomingMessage): Promise<void> {
  if (isReceiving(request) && !waiting.has(request)) await drop(request, BEFORE)
}

/**
 * Reads the rest of the body of a request that was refused, and drops it. Resolves with `false` if it is too slow or too
 * large: then the response has to be sent first.
 */
export async function receiveRefused(request: IncomingMessage): Promise<boolean> {
  if (!isReceiving(request)) return true
  if (waiting.has(request)) return false
  const isReceived = (await drop(request, BEFORE_REFUSAL)) !== 'limit'
  if (!isReceived) slow.add(request)
  return isReceived
}

/** Whether the body of the request is not received yet. */
function isReceiving(request: IncomingMessage) {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  if (length === undefined && coding === undefined) return false
  return !request.complete && !request.readableEnded && !request.destroyed
}

async function receiveFirst({ raw }: FastifyRequest, reply: FastifyReply, payload: unknown) {
  const isWaiting = waiting.delete(raw)
  const isBusy = reply.statusCode === 429 || reply.statusCode === 503
  if (!isWaiting && !slow.has(raw) && (await drop(raw, isBusy ? BEFORE_REFUSAL : BEFORE)) !== 'limit')
    return payload
  reply.header('Connection', 'close')
  if (typeof payload !== 'string') return payload
  reply.header('Content-Length', Buffer.byteLength(payload))
  return Readable.from(lingering(payload, raw, isWaiting ? AFTER_EXPECTATION : AFTER))
}

/** Sends the whole response, and ends it when the client has sent its request or has gone. Then Node closes. */
async function* lingering(payload: string, request: IncomingMessage, limits: DropLimits) {
  yield payload
  await drop(request, limits)
}

/** Reads and drops a body. Resolves with `limit` if a limit was reached before its end. */
function drop(request: IncomingMessage, { bytes, total, idle }: DropLimits): Promise<'ended' | 'limit'> {
  return new Promise((resolve) => {
    let left = bytes
    const count = (chunk: Buffer) => {
      left -= chunk.length
      if (left < 0) finish('limit')
      else idleTimer.refresh()
    }
    const finish = (result: 'ended' | 'limit') => {
      clearTimeout(idleTimer)
      clearTimeout(totalTimer)
      request.off('data', count).off('end', onEnd).off('close', onEnd)
      // A listener that is removed stops the flow.
      request.resume()
      resolve(result)
    }
    const onEnd = () => finish('ended')
    const idleTimer = setTimeout(finish, idle, 'limit')
    const totalTimer = setTimeout(finish, total, 'limit')
    // A pipe to a reader that has stopped would hold the body.
    request.unpipe()
    request.on('data', count).once('end', onEnd).once('close', onEnd).resume()
  })
}

/**
 * Ends a connection whose request could not be parsed, after a response was written to it. Bytes that still arrive are
 * read for a moment, because a reset could destroy the response before the client reads it.
 */
export function endGently(socket: Socket) {
  const timer = setTimeout(() => socket.destroy(), AFTER_EXPECTATION.idle)
  socket.once('close', () => clearTimeout(timer))
  socket.once('end', () => socket.destroy())
  socket.end()
  socket.resume()
}
