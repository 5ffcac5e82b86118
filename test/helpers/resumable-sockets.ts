import { request as httpRequest, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'

export interface SocketAnswer {
  status: number
  headers: IncomingMessage['headers']
  body: string
}

const tus = { 'tus-resumable': '1.0.0' }

/** Sends a request on a connection of its own. Resolves with undefined if the connection was lost. */
export function send(
  url: string,
  method: string,
  headers: Record<string, string | number> = {},
  body?: Buffer,
  { cutAfter, onWrite }: { cutAfter?: number; onWrite?: () => void } = {},
): Promise<SocketAnswer | undefined> {
  return new Promise((resolve) => {
    const sending = httpRequest(
      url,
      { method, agent: false, headers: { ...headers, ...(body && { 'content-length': body.length }) } },
      (answer) => {
        buffer(answer).then(
          (bytes) => resolve({ status: answer.statusCode!, headers: answer.headers, body: bytes.toString() }),
          () => resolve(undefined),
        )
      },
    )
    sending.on('error', () => resolve(undefined))
    sending.on('close', () => resolve(undefined))
    if (!body || cutAfter === undefined) {
      sending.end(body)
      onWrite?.()
      return
    }
    // The connection is lost in the middle of the body.
    sending.write(body.subarray(0, cutAfter), () => {
      onWrite?.()
      setTimeout(() => sending.destroy(), 5)
    })
  })
}

/** Begins an upload by tus. Resolves with its absolute URL. */
export async function begin(link: string, length: number): Promise<string> {
  const answer = await send(`${link}/files`, 'POST', { ...tus, 'upload-length': length })
  if (answer?.status !== 201) throw new Error(`${answer?.status} ${answer?.body}`)
  return new URL(answer.headers.location!, link).href
}

export const patch = (
  url: string,
  offset: number,
  body: Buffer,
  options: { cutAfter?: number; onWrite?: () => void } = {},
) =>
  send(
    url,
    'PATCH',
    {
      ...tus,
      accept: 'application/json',
      'content-type': 'application/offset+octet-stream',
      'upload-offset': offset,
    },
    body,
    options,
  )

/** The acknowledged offset, as a client reads it before it continues. */
export async function offsetOf(url: string): Promise<number> {
  for (;;) {
    const answer = await send(url, 'HEAD', tus)
    if (answer?.status === 204) return Number(answer.headers['upload-offset'])
    if (answer && ![423, 503].includes(answer.status)) throw new Error(`HEAD: ${answer.status}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
