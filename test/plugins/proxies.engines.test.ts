import { Agent, request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { type Kind, missing, type ProxyName, startProxy } from '../helpers/proxies.ts'

const COUNT = 100
const CONCURRENCY = 8

const apps = await Promise.all([build(t, { GUESS_LIMIT: '0' }), build(t, { GUESS_LIMIT: '0' })])
for (const app of apps) await app.listen({ port: 0 })
const backends = apps.map((app) => (app.server.address() as AddressInfo).port)
// The two have stores of their own, so each link exists in one. Only refusals and /livez work in both.
const UNKNOWN = `/uploads/${'x'.repeat(48)}`
const { headers, payload } = multipart([{ body: Buffer.alloc(4_000_000, 'x') }])
const valid = multipart([{ body: await makeImage() }])

type Send = (path: string, body: Buffer) => Promise<number>

/** Sends over HTTP/1.1 and resolves with the status, 0 if there is no response. */
function overHttp1(port: number): Send {
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY })
  return (path, body) =>
    new Promise((resolve) => {
      const sent = request({
        port,
        host: '127.0.0.1',
        path,
        method: 'POST',
        agent,
        timeout: 30_000,
        headers: { ...headers, 'content-length': body.length },
      })
      sent.on('response', (response) => response.resume().on('end', () => resolve(response.statusCode!)))
      sent.on('timeout', () => sent.destroy())
      sent.on('error', () => resolve(0))
      sent.end(body)
    })
}

function overHttp2(port: number): Send {
  const session = connectHttp2(`http://127.0.0.1:${port}`, { maxSessionMemory: 200 })
  t.teardown(() => session.destroy())
  return (path, body) =>
    new Promise((resolve) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        ...headers,
        'content-length': body.length,
      })
      stream.setTimeout(30_000, () => stream.close())
      let status = 0
      stream.on('response', (fields) => {
        status = fields[':status']!
      })
      stream.on('error', () => resolve(status))
      stream.on('close', () => resolve(status))
      stream.resume()
      stream.end(body)
    })
}

/** Sends refused and valid uploads in turn, several at once, and counts the statuses. */
async function statuses(send: Send, link: string) {
  const counts = { refused: {} as Record<number, number>, valid: {} as Record<number, number> }
  let next = 0
  const work = async () => {
    for (let n = next++; n < 2 * COUNT; n = next++) {
      const kind = n % 2 ? 'valid' : 'refused'
      const status = kind === 'valid' ? await send(link, valid.payload) : await send(UNKNOWN, payload)
      counts[kind][status] = (counts[kind][status] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  return counts
}

for (const [kind, protocol] of [
  ['nginx, shipped', 'h1'],
  ['nginx, plain', 'h1'],
  ['haproxy', 'h1'],
  ['haproxy', 'h2'],
  ['caddy', 'h1'],
] as [Kind, 'h1' | 'h2'][]) {
  const skip = missing(kind.split(',')[0] as ProxyName)
  t.test(
    `${kind}, ${protocol}: each of 100 refused and 100 valid uploads gets its status`,
    { skip, timeout: 180_000 },
    async (t) => {
      // One backend: a link exists only there.
      const port = await startProxy(t, kind, [backends[0]!])
      const send = protocol === 'h2' ? overHttp2(port) : overHttp1(kind === 'haproxy' ? port + 1 : port)
      const counts = await statuses(send, await makeLink(apps[0]!))
      t.strictSame(counts, { refused: { 404: COUNT }, valid: { 200: COUNT } })
    },
  )
}

t.test(
  'after 100 refused uploads, both backends of nginx still get requests',
  { skip: missing('nginx') },
  async (t) => {
    const port = await startProxy(t, 'nginx, plain', backends)
    const send = overHttp1(port)
    for (let n = 0; n < COUNT; n++) t.equal(await send(UNKNOWN, payload), 404)
    const seen = await Promise.all(Array.from({ length: 20 }, () => fetch(`http://127.0.0.1:${port}/livez`)))
    for (const { status } of seen) t.equal(status, 200)
  },
)
