import { once } from 'node:events'
import { createServer, type IncomingMessage, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/**
 * The fault of a request that is not passed on. A status, perhaps with a body: it is the response. `stall`: there is
 * no answer. `cut`: the connection is cut after some of the body went through. `unanswered`: it is carried out, and the
 * connection cut in place of the answer. `halt`: the answer stops after some of its body. `crop`: it is cut there.
 */
export type Fault =
  | number
  | { status: number; body: string }
  | 'stall'
  | 'cut'
  | 'unanswered'
  | 'halt'
  | 'crop'

const SOME_BYTES = 200_000

/** An HTTP proxy on a free port before `target` that can be told to fail. It ends with the test. */
export async function startFaultyProxy(t: Test, target: string) {
  const seen: string[] = []
  let decide: (request: IncomingMessage) => Fault | undefined = () => undefined
  let openConnections = 0

  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    const fault = decide(request)
    request.on('error', () => {})
    response.on('error', () => {})
    if (fault === 'stall') return
    if (typeof fault === 'number' || typeof fault === 'object') {
      const { status, body } = typeof fault === 'number' ? { status: fault, body: '' } : fault
      request.resume().on('end', () => response.writeHead(status).end(body))
      return
    }

    const onward = send(target, {
      method: request.method,
      path: request.url,
      headers: request.headers,
      agent: false,
    })
    onward.on('error', () => request.socket.destroy())
    onward.on('response', (answer) => {
      answer.on('error', () => {})
      if (fault === 'unanswered') {
        answer.resume().on('end', () => request.socket.destroy())
        return
      }
      response.writeHead(answer.statusCode!, answer.headers)
      let passed = 0
      answer.on('data', (chunk) => {
        const stop = fault === 'halt' || fault === 'crop'
        if (stop && passed > SOME_BYTES) {
          if (fault === 'crop') request.socket.destroy()
          return
        }
        passed += chunk.length
        if (!response.write(chunk)) {
          answer.pause()
          response.once('drain', () => answer.resume())
        }
      })
      answer.on('end', () => fault !== 'halt' && response.end())
      response.on('close', () => onward.destroy())
    })
    if (fault === 'cut') {
      request.once('data', (chunk) => {
        onward.write(chunk.subarray(0, chunk.length / 2))
        setTimeout(() => {
          onward.destroy()
          request.socket.destroy()
        }, 20)
      })
    } else {
      request.pipe(onward)
    }
  })
  server.on('connection', (socket) => {
    openConnections += 1
    socket.on('close', () => {
      openConnections -= 1
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  t.teardown(close)

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** `METHOD path` of each request since the last `fail`. */
    seen,
    /** Sets the faults of the next requests. */
    fail(decision: typeof decide) {
      decide = decision
      seen.length = 0
    },
    openConnections: () => openConnections,
    /** From now on connections are refused. */
    close,
  }
}
