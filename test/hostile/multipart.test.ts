import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { build, makeLink } from '../helpers/app.ts'
import { openConnection } from '../helpers/connection.ts'
import { makeImage } from '../helpers/images.ts'
import { isProblem } from '../helpers/problem.ts'

// The rules of RFC 7578 and RFC 2046 §5.1, the cases that they leave open, and the cases of the parser's own tests.

const app = await build(t, { MAX_FILES: '1000' })
await app.listen({ port: 0 })
const { port } = app.server.address() as AddressInfo
const link = await makeLink(app)
const image = await makeImage()

const bytes = (...pieces: (string | Uint8Array)[]) => Buffer.concat(pieces.map((piece) => Buffer.from(piece)))
const named = (name: string) => `Content-Disposition: form-data; name="image"; filename="${name}"\r\n`
const part = (boundary: string, fields = named('a'), body: string | Uint8Array = image) =>
  bytes(`--${boundary}\r\n${fields}\r\n`, body, '\r\n')
const whole = (boundary: string, ...more: Parameters<typeof bytes>) =>
  bytes(part(boundary), ...more, `--${boundary}--\r\n`)

const LONGEST = `${'0123456789'.repeat(6)}'()+_,-./:=` // 70 characters, which is the most (RFC 2046 §5.1.1)

/** Uploads a body. Returns the status, the names of the accepted parts and the reasons of the rejected ones. */
async function outcome(type: string, payload: Uint8Array) {
  const answer = await app.inject({
    method: 'POST',
    url: link,
    headers: { 'content-type': `multipart/form-data; ${type}` },
    payload: Buffer.from(payload),
  })
  const { processed = [], rejected = [] } = answer.json()
  return [
    answer.statusCode,
    processed.map(({ name }: { name: string }) => name).join(' '),
    rejected.map(({ reason }: { reason: string }) => reason).join(' '),
  ]
}

const B = 'boundary=b'

t.test('every boundary of RFC 2046 is found, and a missing or too long one is malformed', async (t) => {
  for (const [type, body, expected] of [
    ['boundary=x', whole('x'), [200, 'a', '']],
    [`boundary="${LONGEST}"`, whole(LONGEST), [200, 'a', '']],
    [`boundary=${'x'.repeat(1000)}`, whole('x'.repeat(1000)), [400, '', 'malformed']],
    ['boundary="with blank"', whole('with blank'), [200, 'a', '']],
    ['boundary="gc0pJq0M:08jU534c0p"', whole('gc0pJq0M:08jU534c0p'), [200, 'a', '']],
    ['BOUNDARY=b', whole('b'), [200, 'a', '']],
    ['charset=utf-8; boundary=b', whole('b'), [200, 'a', '']],
    ['boundary=b; boundary=c', whole('b'), [200, 'a', '']],
    ['boundary=---', whole('---'), [200, 'a', '']],
    ['boundary=b', whole('B'), [400, '', 'incomplete']],
    ['boundary=', whole('b'), [400, '', 'malformed']],
    ['charset=utf-8', whole('b'), [400, '', 'malformed']],
    ['boundary="b', whole('b'), [200, 'a', '']],
  ] as const)
    t.strictSame(await outcome(type, body), expected, type.slice(0, 80))
})

t.test('bytes before, between and after the parts are accepted or refused', async (t) => {
  for (const [about, body, expected] of [
    ['a preamble', bytes('This is a message.\r\n', whole('b')), [200, 'a', '']],
    ['a preamble of 1 MB', bytes('x'.repeat(1_000_000), '\r\n', whole('b')), [200, 'a', '']],
    ['a line break before the first boundary', bytes('\r\n', whole('b')), [200, 'a', '']],
    ['an epilogue', bytes(whole('b'), 'The end.\r\n'), [200, 'a', '']],
    ['an epilogue of 1 MB', bytes(whole('b'), 'x'.repeat(1_000_000)), [200, 'a', '']],
    ['a part after the end', bytes(whole('b'), part('b', named('late')), '--b--\r\n'), [200, 'a', '']],
    ['no line break at the end', whole('b').subarray(0, -2), [200, 'a', '']],
    ['no last boundary', part('b'), [400, '', 'incomplete']],
    ['no last hyphens', bytes(part('b'), '--b'), [200, 'a', 'incomplete']],
    ['one last hyphen', bytes(part('b'), '--b-'), [200, 'a', 'incomplete']],
    ['only an end', bytes('--b--\r\n'), [415, '', '']],
    ['only an end after a line break', bytes('\r\n--b--'), [415, '', '']],
    ['an empty body', bytes(''), [415, '', '']],
    [
      'blanks after a boundary',
      bytes(`--b \t \r\n${named('a')}\r\n`, image, '\r\n--b-- \t\r\n'),
      [200, 'a', ''],
    ],
    [
      'line feeds without carriage returns',
      bytes(`--b\n${named('a').replace('\r', '')}\n`, image, '\n--b--\n'),
      [400, '', 'incomplete'],
    ],
    ['an empty part', whole('b', '--b\r\n\r\n\r\n'), [200, 'a', 'malformed']],
    ['a part without header and body', whole('b', '--b\r\n'), [200, 'a', 'malformed']],
    // A boundary is only the beginning of its line (RFC 2046 §5.1.1).
    [
      'a boundary that is followed by other characters',
      whole('b', part('bb', named('other'))),
      [200, 'a', 'malformed'],
    ],
  ] as const)
    t.strictSame(await outcome(B, body), expected, about)
})

t.test('bytes that resemble a boundary belong to their part', async (t) => {
  for (const inside of [
    '--b',
    '\r\n',
    '\r\n-',
    '\r\n--',
    '\n--b--',
    '\r--b--',
    'x\r\n--',
    '\r\n--\r\nb',
    '--b--\r\n',
  ]) {
    const body = bytes(image, inside, 'tail')
    const { headers, payload } = {
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      payload: bytes(part('b', named('a'), body), '--b--'),
    }
    const answer = await app.inject({ method: 'POST', url: link, headers, payload })
    const { id } = answer.json().processed[0]
    t.ok(body.equals((await app.inject(`/images/${id}`)).rawPayload), JSON.stringify(inside))
  }
})

t.test('a part needs only one readable Content-Disposition among its header fields', async (t) => {
  for (const [about, fields, expected] of [
    // The parser drops header fields after 80 KiB.
    ['a field of 1 MB', `${named('a')}X-Long: ${'x'.repeat(1_000_000)}\r\n`, [200, 'a', '']],
    ['a name of 1 MB', named('x'.repeat(1_000_000)), [200, 'x'.repeat(255), '']],
    ['a thousand fields', `${named('a')}${'X-Field: 1\r\n'.repeat(1000)}`, [200, 'a', '']],
    [
      'a thousand fields before the name',
      `${'X-Field: 1\r\n'.repeat(1000)}${named('a')}`,
      [400, '', 'malformed'],
    ],
    [
      'a folded field',
      'Content-Disposition: form-data;\r\n name="image";\r\n\tfilename="a"\r\n',
      [200, 'a', ''],
    ],
    ['a line without a colon', `nonsense\r\n${named('a')}`, [400, '', 'malformed']],
    ['a field without a name', `: x\r\n${named('a')}`, [400, '', 'malformed']],
    ['two dispositions', named('a') + named('b'), [200, 'a', '']],
    [
      'upper and lower case',
      'CONTENT-disposition: FORM-data; NAME="image"; FILENAME="a"\r\n',
      [200, 'a', ''],
    ],
    ['an escaped quote in a name', named('a\\"b'), [200, 'a"b', '']],
    ['percent signs in a name', named('a%22b%0D%0A'), [200, 'a"b', '']],
    ['UTF-8 in a name', named('ä.png'), [200, 'ä.png', '']],
    [
      'a name in another encoding',
      'Content-Disposition: form-data; name="x"; filename*=UTF-8\'\'%e2%82%ac.png\r\n',
      [200, '€.png', ''],
    ],
    [
      'a name in an unknown encoding',
      'Content-Disposition: form-data; name="x"; filename*=nonsense\'\'%ff.png\r\n',
      [200, '\ufffd.png', ''],
    ],
    ['a NUL', `${named('a')}X: a\0b\r\n`, [200, 'a', '']],
    ['an empty disposition', 'Content-Disposition:\r\n', [400, '', 'malformed']],
    ['an empty type', `${named('a')}Content-Type:\r\n`, [200, 'a', '']],
    ['an invalid type', `${named('a')}Content-Type: ;;;\r\n`, [200, 'a', '']],
    ['an unknown charset', `${named('a')}Content-Type: image/png; charset=nonsense\r\n`, [200, 'a', '']],
    [
      'Content-Transfer-Encoding: binary',
      `${named('a')}Content-Transfer-Encoding: binary\r\n`,
      [200, 'a', ''],
    ],
    ['a wrong length', `${named('a')}Content-Length: 3\r\n`, [200, 'a', '']],
  ] as const)
    t.strictSame(await outcome(B, bytes(part('b', fields), '--b--\r\n')), expected, about)
})

t.test(
  'a part with a transfer encoding is rejected, and the reason names the encoding (RFC 7578 §4.7)',
  async (t) => {
    for (const [encoding, body] of Object.entries({
      base64: image.toString('base64'),
      'quoted-printable': [...image]
        .map((byte) => `=${byte.toString(16).padStart(2, '0').toUpperCase()}`)
        .join(''),
    })) {
      const fields = `${named('a')}Content-Transfer-Encoding: ${encoding}\r\n`
      t.strictSame(
        await outcome(B, bytes(part('b', fields, body), '--b--\r\n')),
        [415, '', 'unsupported_encoding'],
        encoding,
      )
    }
  },
)

t.test('a part that is multipart is rejected, and the other parts are accepted', async (t) => {
  // RFC 2388 allowed this. RFC 7578 §4.3 does not.
  const nested = part(
    'b',
    'Content-Disposition: form-data; name="files"\r\nContent-Type: multipart/mixed; boundary=c\r\n',
    whole('c'),
  )
  t.strictSame(await outcome(B, whole('b', nested, part('b', named('last')))), [
    200,
    'a last',
    'not_an_image',
  ])
})

t.test('a thousand parts are answered one by one, and 20,000 only in part', async (t) => {
  const small = part('b', named('n'), 'x')
  const [status, processed, rejected] = await outcome(B, whole('b', ...Array<Buffer>(999).fill(small)))
  t.strictSame([status, processed, String(rejected).split(' ').length], [200, 'a', 999])
  const flood = await outcome(B, whole('b', ...Array<Buffer>(20_000).fill(small)))
  t.strictSame(flood.slice(0, 2), [200, 'a'])
  t.ok(String(flood[2]).split(' ').length < 1200)
})

t.test('a compressed body is refused', async (t) => {
  const answer = await app.inject({
    method: 'POST',
    url: link,
    headers: { 'content-type': `multipart/form-data; ${B}`, 'content-encoding': 'gzip' },
    payload: gzipSync(whole('b')),
  })
  isProblem(t, answer, 415, 'unsupported-content-encoding')
  t.equal(answer.headers['accept-encoding'], 'identity')
})

const head = (length: string, more = '') =>
  `POST ${link} HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; ${B}\r\n${length}\r\n${more}\r\n`
const counted = (body: Buffer, more = '') => bytes(head(`Content-Length: ${body.length}`, more), body)
const chunked = (body: Buffer) =>
  bytes(head('Transfer-Encoding: chunked'), body.length.toString(16), '\r\n', body, '\r\n0\r\n\r\n')

t.test('pipelined requests are answered in their order', async (t) => {
  const connection = await openConnection(port)
  const small = (name: string) => bytes(part('b', named(name)), '--b--\r\n')
  const live = 'GET /livez HTTP/1.1\r\nHost: h\r\n\r\n'
  await connection.send(
    bytes(
      counted(small('1')),
      chunked(small('2')),
      live,
      counted(bytes('nonsense')),
      chunked(small('3')),
      live,
    ),
  )
  for (const expected of ['1', '2', undefined, 'malformed', '3', undefined]) {
    const { statusCode, body } = await connection.answer()
    if (expected === 'malformed') t.equal(statusCode, 400)
    else if (expected) t.match(JSON.parse(body), { processed: [{ name: expected }] })
    else t.equal(body, '{"status":"ok"}')
  }
  connection.socket.destroy()
})

t.test('a client that waits for 100 (Continue) gets it, and another expectation gets 417', async (t) => {
  const connection = await openConnection(port)
  const body = whole('b')
  await connection.send(head(`Content-Length: ${body.length}`, 'Expect: 100-continue\r\n'))
  t.equal((await connection.answer()).statusCode, 100)
  await connection.send(body)
  t.equal((await connection.answer()).statusCode, 200)
  connection.socket.destroy()

  const other = await openConnection(port)
  await other.send(head(`Content-Length: ${body.length}`, 'Expect: the-unexpected\r\n'))
  isProblem(t, await other.answer(), 417, 'expectation-failed')
  other.socket.destroy()
})
