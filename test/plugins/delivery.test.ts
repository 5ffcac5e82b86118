import type { AddressInfo } from 'node:net'
import t from 'tap'
import { admin, build, makeLink } from '../helpers/app.ts'
import { closed, openConnection } from '../helpers/connection.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

const app = await build(t)
await app.listen({ port: 0 })
const { port } = app.server.address() as AddressInfo
const link = await makeLink(app)
const UNKNOWN = `/uploads/${'x'.repeat(48)}`
const { headers, payload } = multipart([{ body: await makeImage() }])
const large = multipart([{ body: Buffer.alloc(5_000_000, 'x') }]).payload

const head = (url: string, length: number, fields: string[] = [], version = '1.1') =>
  `${[`POST ${url} HTTP/${version}`, 'Host: h', `Content-Type: ${headers['content-type']}`, `Content-Length: ${length}`, ...fields].join('\r\n')}\r\n\r\n`

t.test('a client that reads only after it has sent everything reads each refusal', async (t) => {
  const json = (url: string, type: string, fields: string[] = []) =>
    head(url, large.length, fields).replace(headers['content-type'], type)
  const token = `X-Access-Token: ${admin['x-access-token']}`
  for (const [about, request, status] of [
    ['an unknown link', head(UNKNOWN, large.length), 404],
    ['Connection: close', head(UNKNOWN, large.length, ['Connection: close']), 404],
    ['HTTP/1.0', head(UNKNOWN, large.length, [], '1.0'), 404],
    [
      'Upgrade: h2c',
      head(UNKNOWN, large.length, ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c']),
      404,
    ],
    ['no path', head('/nowhere', large.length, ['Connection: close']), 404],
    ['a wrong method', head('/livez', large.length, ['Connection: close']), 405],
    ['a URL that cannot be decoded', head('/images/%zz', large.length, ['Connection: close']), 400],
    ['no multipart', json(link, 'image/tiff', ['Connection: close']), 415],
    ['compressed', head(link, large.length, ['Content-Encoding: gzip', 'Connection: close']), 415],
    ['no token', json('/admin/ephemeral-links', 'application/json', ['Connection: close']), 401],
    ['too large', json('/admin/ephemeral-links', 'application/json', [token, 'Connection: close']), 413],
    ['no parser', json('/admin/ephemeral-links', 'text/xml', [token, 'Connection: close']), 415],
  ] as const) {
    const connection = await openConnection(port)
    connection.socket.pause()
    await connection.send(Buffer.concat([Buffer.from(request), large]))
    connection.socket.resume()
    t.equal((await connection.answer()).statusCode, status, about)
    if (request.includes('keep-alive')) connection.socket.destroy()
    else connection.socket.end()
    await closed(connection.socket)
  }
})

t.test('a client that closes its side after the request reads the response', async (t) => {
  const uploads = Array.from({ length: 20 }, async (_, n) => {
    const connection = await openConnection(port)
    const isUnknown = n % 4 === 3
    const body = isUnknown ? large : payload
    connection.socket.end(Buffer.concat([Buffer.from(head(isUnknown ? UNKNOWN : link, body.length)), body]))
    t.equal((await connection.answer()).statusCode, isUnknown ? 404 : 200)
    await closed(connection.socket)
  })
  await Promise.all(uploads)
})

t.test('a client that waits for 100 (Continue) is refused before it sends the body', async (t) => {
  const expectation = ['Expect: 100-continue']
  for (const [url, status, problem] of [
    [UNKNOWN, 404, 'link-not-found'],
    ['/nowhere', 404, 'not-found'],
  ] as const) {
    const connection = await openConnection(port)
    await connection.send(head(url, large.length, expectation))
    const answer = await connection.answer()
    isProblem(t, answer, status, problem)
    t.equal(answer.headers.connection, 'close', 'the body of this request may follow or not')
    // Some clients send the body anyway.
    await connection.send(large.subarray(0, 500_000)).catch(() => {})
    connection.socket.destroy()
  }
  const connection = await openConnection(port)
  await connection.send(head(link, payload.length, expectation))
  t.equal((await connection.answer()).statusCode, 100)
  await connection.send(payload)
  t.equal((await connection.answer()).statusCode, 200)
  connection.socket.destroy()
})

t.test(
  'a refused body of any size is answered, at the latest after 128 MiB',
  { timeout: 60_000 },
  async (t) => {
    const MiB = 2 ** 20
    const connection = await openConnection(port)
    await connection.send(head(UNKNOWN, 10_000 * MiB))
    const answering = connection.answer()
    let isAnswered = false
    answering.then(() => {
      isAnswered = true
    })
    let sent = 0
    for (const chunk = Buffer.alloc(MiB); !isAnswered && sent < 300; sent++) await connection.send(chunk)
    const answer = await answering
    isProblem(t, answer, 404, 'link-not-found')
    t.equal(answer.headers.connection, 'close')
    t.ok(sent >= 128 && sent < 200, `after ${sent} MiB`)
    // The connection is not reset while the client still sends.
    for (let more = 0; more < 10; more++) await connection.send(Buffer.alloc(MiB))
    connection.socket.end()
    await closed(connection.socket)
  },
)

t.test('a response to bytes that are not HTTP arrives, also if more bytes follow', async (t) => {
  const connection = await openConnection(port)
  connection.socket.pause()
  await connection.send(Buffer.concat([Buffer.from('nonsense\r\n\r\n'), Buffer.alloc(200_000, 'x')]))
  await connection.send(Buffer.alloc(200_000, 'x')).catch(() => {})
  connection.socket.resume()
  isProblem(t, await connection.answer(), 400, 'invalid-request')
  await closed(connection.socket)
})

t.test('a stalled connection above a limit gets its 429 at once, not at the end of its body', async (t) => {
  const limited = await build(t, { UPLOADS_PER_LINK: '1' })
  await limited.listen({ port: 0 })
  const { port } = limited.server.address() as AddressInfo
  const url = await makeLink(limited)
  const first = await openConnection(port)
  await first.send(head(url, 5_000_000))
  const stalled = await openConnection(port)
  const refused = stalled.answer()
  const start = performance.now()
  await stalled.send(Buffer.concat([Buffer.from(head(url, 5_000_000)), large.subarray(0, 1_000)]))
  t.equal((await refused).statusCode, 429)
  t.ok(performance.now() - start < 10_000, 'CLIENT_TIMEOUT is 30 s')
  const raw = (url: string, fields: string[] = []) =>
    head(url, large.length, fields).replace(headers['content-type'], 'image/png')
  const sending = await openConnection(port)
  await sending.send(Buffer.concat([Buffer.from(raw(url)), large]))
  const answer = await sending.answer()
  t.equal(answer.statusCode, 429)
  t.not(answer.headers.connection, 'close', 'the body of an image was read and dropped')
  const expecting = await openConnection(port)
  await expecting.send(raw(url, ['Expect: 100-continue']))
  t.equal((await expecting.answer()).statusCode, 429, 'without a 100')
  const anonymous = await openConnection(port)
  await anonymous.send(
    Buffer.concat([
      Buffer.from(raw(await makeLink(limited, { sinceNow: 'PT1H', askSender: 'required' }))),
      large,
    ]),
  )
  t.equal((await anonymous.answer()).statusCode, 400)
  t.ok(performance.now() - start < 10_000, 'each refusal is sent at once')
  for (const { socket } of [sending, expecting, anonymous]) socket.destroy()
  first.socket.destroy()
  stalled.socket.destroy()
})
