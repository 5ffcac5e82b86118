import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** Resolves when a socket is closed, be it by an error. */
export const closed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })

export interface RawAnswer {
  statusCode: number
  /** By their name in lower case. */
  headers: Record<string, string>
  body: string
}

/** Opens a connection for single bytes of HTTP/1.1, so that a request can be wrong or incomplete. */
export async function openConnection(port: number) {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  let received = Buffer.alloc(0)
  let failure: Error | undefined
  socket.on('data', (data) => {
    received = Buffer.concat([received, data])
  })
  socket.on('error', (error) => {
    failure = error
  })
  // One set of listeners for all answers.
  let wake = () => {}
  for (const event of ['data', 'end', 'close']) socket.on(event, () => wake())

  return {
    socket,

    /** Sends, and resolves when it is on its way; rejects where the server does not take it. */
    async send(data: string | Uint8Array) {
      if (socket.destroyed) throw failure ?? new Error('the connection is closed')
      await new Promise<void>((resolve, reject) =>
        socket.write(data, (error) => (error ? reject(error) : resolve())),
      )
    },

    /** The next response on this connection. Its body has the length of Content-Length. */
    async answer(): Promise<RawAnswer> {
      for (;;) {
        const answer = parse(received)
        if (answer) {
          received = received.subarray(answer.length)
          return answer
        }
        if (socket.readableEnded || socket.destroyed)
          throw failure ?? new Error(`the connection ended without an answer: ${received}`)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
}

function parse(received: Buffer) {
  const end = received.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [status = '', ...lines] = received.toString('latin1', 0, end).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const [name = '', value = ''] = line.split(/: (.*)/s)
      return [name.toLowerCase(), value]
    }),
  )
  const start = end + 4
  const length = start + Number(headers['content-length'] ?? 0)
  if (received.length < length) return undefined
  const body = received.toString('utf8', start, length)
  return { statusCode: Number(status.split(' ')[1]), headers, body, length }
}
