import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { admin, build, makeLink, objectsOf, TOKEN } from '../helpers/app.ts'
import { openConnection } from '../helpers/connection.ts'
import { makeImage, makePadded } from '../helpers/images.ts'
import { multipart, type TestPart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { until } from '../helpers/server.ts'

const app = await build(t, { MAX_FILE_SIZE: '100KiB', MAX_FILES: '3' })
await app.listen({ port: 0 })
const { port } = app.server.address() as AddressInfo
const link = await makeLink(app)
const revoked = await makeLink(app)
await app.inject({
  method: 'DELETE',
  url: revoked.replace('/uploads/', '/admin/ephemeral-links/'),
  headers: admin,
})

const MULTIPART = 'multipart/form-data; boundary=the-boundary'
const UNKNOWN = `/uploads/${'x'.repeat(48)}`

/** The head of a request, with a body of `length` bytes. */
const head = (method: string, url: string, fields: Record<string, string | number> = {}) =>
  `${[`${method} ${url} HTTP/1.1`, 'Host: h', ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`

const post = (url: string, type: string, body: string | Uint8Array, fields = {}) =>
  Buffer.concat([
    Buffer.from(
      head('POST', url, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body), ...fields }),
    ),
    Buffer.from(body),
  ])

const uploadOf = (...parts: TestPart[]) => post(link, MULTIPART, multipart(parts).payload)

const chunk = (data: Uint8Array) =>
  Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])

/** The keys of unfinished objects, and of stored ones. */
async function objects() {
  const keys = (await Array.fromAsync(objectsOf(app).list())).map(({ key }) => key)
  return {
    incoming: keys.filter((key) => key.startsWith('incoming/')),
    kept: keys.filter((key) => !key.startsWith('incoming/')),
  }
}

const nothingIncoming = () => until(async () => ((await objects()).incoming.length === 0 ? true : undefined))

/** Asserts that the connection serves another request. */
async function servesOn(t: Test, connection: Awaited<ReturnType<typeof openConnection>>, about: string) {
  await connection.send(head('GET', '/livez'))
  t.match(await connection.answer(), { statusCode: 200, body: '{"status":"ok"}' }, `${about}: serves on`)
}

t.test('after an error of any kind the same connection serves the next request', async (t) => {
  const png = await makeImage()
  const json = 'application/json'
  const asAdmin = { 'X-Access-Token': TOKEN }
  const create = (body: string | Uint8Array, type = json) =>
    post('/admin/ephemeral-links', type, body, asAdmin)
  const connection = await openConnection(port)
  for (const [request, status, problem] of [
    [head('GET', '/nowhere'), 404, 'not-found'],
    [head('GET', '/images/%zz'), 400, 'invalid-request'],
    [head('GET', `/images/${'x'.repeat(10_000)}`), 404, 'image-not-found'],
    [head('GET', '/admin/stats'), 401, 'unauthorized'],
    [head('GET', '/admin/stats', { ...asAdmin, Authorization: 'Bearer x' }), 400, 'too-many-tokens'],
    [post('/admin/ephemeral-links', json, '{"sinceNow":"PT1H"}'), 401, 'unauthorized'],
    [create('{"sinceNow"'), 400, 'invalid-request'],
    [create(''), 400, 'invalid-request'],
    [create('{}'), 400, 'invalid-expiry'],
    [create('<link/>', 'text/xml'), 415, 'unsupported-media-type'],
    [create('x'.repeat(100_000)), 413, 'too-large'],
    [post(UNKNOWN, MULTIPART, multipart([{ body: png }]).payload), 404, 'link-not-found'],
    [post(revoked, MULTIPART, multipart([{ body: png }]).payload), 410, 'link-revoked'],
    [post(link, json, '{}'), 415, 'not-multipart'],
    [post(link, 'multipart/form-data', 'x'), 400, 'malformed-multipart'],
    [post(link, MULTIPART, '--another\r\n'), 400, 'malformed-multipart'],
    [post(link, MULTIPART, multipart([{ body: png }], { end: '' }).payload), 400, 'malformed-multipart'],
    [uploadOf(), 415, 'no-image'],
    [uploadOf({ body: 'text' }), 415, 'no-image'],
    [uploadOf({ body: Buffer.concat([png, Buffer.alloc(200_000)]) }), 413, 'too-large'],
    [uploadOf({ body: png, headers: {} }), 400, 'malformed-multipart'],
    [uploadOf(...Array.from({ length: 300 }, () => ({ body: 'text' }))), 415, 'no-image'],
  ] as const) {
    const about = `${status} ${problem}, ${String(request).slice(0, 30)}`
    await connection.send(request)
    isProblem(t, await connection.answer(), status, problem, /./, about)
    await servesOn(t, connection, about)
  }
  connection.socket.destroy()
})

t.test(
  'a client that sends 8 MB reads the response, and the connection serves the next request',
  { timeout: 30_000 },
  async (t) => {
    const body = multipart([{ body: Buffer.alloc(8_000_000, 'x') }]).payload
    for (const [url, type, status, fields] of [
      [UNKNOWN, MULTIPART, 404],
      [revoked, MULTIPART, 410],
      [`${link}/further`, MULTIPART, 404],
      [link, 'application/octet-stream', 415],
      [link, MULTIPART, 415],
      ['/admin/ephemeral-links', 'application/json', 401],
      ['/admin/ephemeral-links', 'application/json', 413, { 'X-Access-Token': TOKEN }],
      ['/admin/ephemeral-links', 'text/plain', 415, { 'X-Access-Token': TOKEN }],
    ] as const) {
      const about = `${status} ${url.slice(0, 30)}`
      const connection = await openConnection(port)
      const answering = connection.answer()
      await connection.send(post(url, type, body, fields))
      t.equal((await answering).statusCode, status, about)
      await servesOn(t, connection, about)

      // The response comes after the body, also if the refusal is known before.
      await connection.send(
        head('POST', url, { 'Content-Type': type, 'Content-Length': body.length, ...fields }),
      )
      await connection.send(body.subarray(0, 10_000))
      const early = connection.answer()
      await connection.send(body.subarray(10_000))
      t.equal((await early).statusCode, status, about)
      await servesOn(t, connection, `${about}: early`)
      connection.socket.destroy()
    }
  },
)

t.test('bytes that are not a request get problem details, and the connection is closed', async (t) => {
  for (const [request, status, problem] of [
    ['nonsense\r\n\r\n', 400, 'invalid-request'],
    [head('GET', '/livez', { 'Content-Length': 'many' }), 400, 'invalid-request'],
    [head('GET', '/livez', { 'X-Long': 'x'.repeat(20_000) }), 431, 'headers-too-large'],
    [
      `${head('POST', link, { 'Content-Type': MULTIPART, 'Transfer-Encoding': 'chunked' })}5\r\nhello, more than five\r\n`,
      400,
      'invalid-request',
    ],
  ] as const) {
    const connection = await openConnection(port)
    await connection.send(request)
    const answer = await connection.answer()
    isProblem(t, answer, status, problem, /./, request.slice(0, 30))
    t.equal(answer.headers.connection, 'close')
    await t.rejects(connection.answer(), request.slice(0, 30))
  }
})

t.test('after a cut within a part, the parts before it are stored, and no byte of this part', async (t) => {
  const large = Buffer.concat([await makeImage(), Buffer.alloc(90_000)])
  const cuts = {
    reset: (connection: Awaited<ReturnType<typeof openConnection>>) => connection.socket.resetAndDestroy(),
    closed: (connection: Awaited<ReturnType<typeof openConnection>>) => connection.socket.destroy(),
    'half closed': (connection: Awaited<ReturnType<typeof openConnection>>) => connection.socket.end(),
  }
  for (const [about, cut] of Object.entries(cuts)) {
    for (const chunked of [false, true]) {
      const whole = await makeImage()
      const { payload } = multipart([{ body: whole, filename: 'whole' }, { body: large }])
      const before = await objects()
      const connection = await openConnection(port)
      const sent = payload.subarray(0, -1000)
      const length = chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': payload.length }
      await connection.send(head('POST', link, { 'Content-Type': MULTIPART, ...length }))
      await connection.send(chunked ? chunk(sent) : sent)
      await until(async () => {
        const { kept, incoming } = await objects()
        return kept.length > before.kept.length && incoming.length > 0 ? true : undefined
      })
      cut(connection)
      await nothingIncoming()
      t.equal(
        (await objects()).kept.length,
        before.kept.length + 1,
        `${about}, ${chunked}: the whole part is kept`,
      )
    }
  }
  const listed = await app.inject({ url: '/admin/images?limit=500', headers: admin })
  t.strictSame(
    (await objects()).kept.toSorted(),
    listed
      .json()
      .items.map(({ id }: { id: string }) => id)
      .toSorted(),
    'each object has its image, and each image its object',
  )
})

t.test('if a body ends between two parts, the first part is stored at any speed', async (t) => {
  for (const end of ['--the-boundary', '--the-boundary\r\n', '--the-boundary\r\nContent-Dispo']) {
    for (const pause of [0, 100]) {
      const { payload } = multipart([{ body: await makeImage(), filename: 'whole' }], { end })
      const request = post(link, MULTIPART, payload)
      const connection = await openConnection(port)
      await connection.send(request.subarray(0, -end.length))
      await sleep(pause)
      await connection.send(request.subarray(-end.length))
      const answer = await connection.answer()
      t.equal(answer.statusCode, 200, end)
      t.match(
        JSON.parse(answer.body),
        { processed: [{ name: 'whole' }], rejected: [{ name: '', reason: 'incomplete' }] },
        end,
      )
      connection.socket.destroy()
    }
  }
})

t.test('chunks of any size, cut anywhere, make the same upload', async (t) => {
  const body = await makeImage('jpeg', { width: 20, height: 20 })
  const { payload } = multipart([
    { body, filename: 'a' },
    { body: 'text', filename: 'b' },
    { body, filename: 'c' },
  ])
  for (const size of [1, 13, 64, 4096]) {
    const connection = await openConnection(port)
    await connection.send(head('POST', link, { 'Content-Type': MULTIPART, 'Transfer-Encoding': 'chunked' }))
    const pieces = []
    for (let at = 0; at < payload.length; at += size) pieces.push(chunk(payload.subarray(at, at + size)))
    await connection.send(Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]))
    const answer = await connection.answer()
    t.match(
      JSON.parse(answer.body),
      { processed: [{ name: 'a' }, { name: 'c' }], rejected: [{ name: 'b', reason: 'not_an_image' }] },
      `${size}`,
    )
    await servesOn(t, connection, `chunks of ${size}`)
    connection.socket.destroy()
  }
})

t.test('a slow client that sends its next request early gets every byte', async (t) => {
  const app = await build(t, {})
  await app.listen({ port: 0 })
  const { port } = app.server.address() as AddressInfo
  const image = await makePadded(3_000_000)
  const { payload, headers } = multipart([{ body: image }])
  const uploaded = await app.inject({ method: 'POST', url: await makeLink(app), headers, payload })
  const path = `/images/${uploaded.json().processed[0].id}`

  const socket = connect(port, '127.0.0.1').pause()
  t.teardown(() => socket.destroy())
  socket.write(head('GET', path) + head('GET', path, { Range: 'bytes=1000-2500000' }) + head('GET', path))
  const bodies = [image, image.subarray(1000, 2_500_001), image]
  let received = Buffer.alloc(0)
  for (const [n, body] of bodies.entries()) {
    for (;;) {
      const start = received.indexOf('\r\n\r\n') + 4
      if (start >= 4 && received.length >= start + body.length) {
        t.ok(received.subarray(start, start + body.length).equals(body), `answer ${n}`)
        received = received.subarray(start + body.length)
        break
      }
      const piece = socket.read(100_000) ?? socket.read()
      if (piece) received = Buffer.concat([received, piece])
      await sleep(1)
    }
  }
})
