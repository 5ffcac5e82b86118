import type { AddressInfo } from 'node:net'
import t from 'tap'
import { build, makeLink } from '../helpers/app.ts'
import { openConnection } from '../helpers/connection.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

// If a proxy and a server understand the same bytes differently, a client can put a request of its own into another
// client's connection (RFC 9112 §11.2). Each of these requests is refused, and the bytes after it are not a request.

const app = await build(t)
await app.listen({ port: 0 })
const { port } = app.server.address() as AddressInfo
const link = await makeLink(app)
const { headers, payload } = multipart([{ body: await makeImage() }])
const TYPE = `Content-Type: ${headers['content-type']}`
// If the service reads it as a request, there is a second response.
const SMUGGLED = 'GET /livez HTTP/1.1\r\nHost: h\r\n\r\n'

const request = (fields: string[], body: string | Uint8Array = '', line = `POST ${link} HTTP/1.1`) =>
  Buffer.concat([
    Buffer.from(`${[line, 'Host: h', TYPE, ...fields].join('\r\n')}\r\n\r\n`),
    Buffer.from(body),
  ])

const length = payload.length
const chunked = `${length.toString(16)}\r\n${payload.toString('latin1')}\r\n0\r\n\r\n`
const latin1 = (text: string) => Buffer.from(text, 'latin1')

const hostile: Record<string, Buffer> = {
  'two lengths': request([`Content-Length: ${length}`, 'Content-Length: 5'], payload),
  'two equal lengths': request([`Content-Length: ${length}`, `Content-Length: ${length}`], payload),
  'lengths in a list': request([`Content-Length: ${length}, ${length}`], payload),
  'a length and chunks': request(
    [`Content-Length: ${length}`, 'Transfer-Encoding: chunked'],
    latin1(chunked),
  ),
  'chunks and a length': request(['Transfer-Encoding: chunked', 'Content-Length: 5'], latin1(chunked)),
  'a length with a sign': request([`Content-Length: +${length}`], payload),
  'a negative length': request(['Content-Length: -1'], payload),
  'a length in hexadecimal': request([`Content-Length: 0x${length.toString(16)}`], payload),
  'a length with a fraction': request([`Content-Length: ${length}.0`], payload),
  'a length above 2^64': request(['Content-Length: 18446744073709551621'], payload),
  'a length that contains a blank': request(['Content-Length: 1 0'], payload),
  'an empty length': request(['Content-Length: '], payload),
  'a blank before the colon': request([`Content-Length : ${length}`], payload),
  'a tab before the colon': request(['Transfer-Encoding\t: chunked'], latin1(chunked)),
  'a folded line': request(
    [`Content-Length: ${length}`, 'X-Fold: a', ' Transfer-Encoding: chunked'],
    payload,
  ),
  'a folded value': request(['Transfer-Encoding:', ' chunked'], latin1(chunked)),
  'a line that begins with a blank': latin1(`POST ${link} HTTP/1.1\r\n Host: h\r\n\r\n`),
  'line feeds without carriage returns': latin1(`POST ${link} HTTP/1.1\nHost: h\nContent-Length: 5\n\nhello`),
  'one line feed without a carriage return': latin1(
    `POST ${link} HTTP/1.1\r\nHost: h\nContent-Length: 5\r\n\r\nhello`,
  ),
  'a carriage return without a line feed': latin1(
    `POST ${link} HTTP/1.1\r\nHost: h\rContent-Length: 5\r\n\r\nhello`,
  ),
  'a NUL in a value': latin1(`POST ${link} HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n`),
  'a name with a blank': request(['Content Length: 5'], payload),
  'a field without a name': request([': chunked'], payload),
  'an unknown coding': request(['Transfer-Encoding: xchunked'], latin1(chunked)),
  'chunked as the first of two codings': request(['Transfer-Encoding: chunked, identity'], latin1(chunked)),
  'two Transfer-Encoding fields': request(
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
    latin1(chunked),
  ),
  'a coding with a control character': request(['Transfer-Encoding: \x0bchunked'], latin1(chunked)),
  'a quoted coding': request(['Transfer-Encoding: "chunked"'], latin1(chunked)),
  'chunks in HTTP/1.0': request(['Transfer-Encoding: chunked'], latin1(chunked), `POST ${link} HTTP/1.0`),
  'a chunk without a size': request(['Transfer-Encoding: chunked'], '\r\nhello\r\n0\r\n\r\n'),
  'a chunk whose size has a sign': request(['Transfer-Encoding: chunked'], '+5\r\nhello\r\n0\r\n\r\n'),
  'a chunk whose size has 0x': request(['Transfer-Encoding: chunked'], '0x5\r\nhello\r\n0\r\n\r\n'),
  'a chunk whose size is too large': request(
    ['Transfer-Encoding: chunked'],
    '10000000000000005\r\nhello\r\n0\r\n\r\n',
  ),
  'a chunk longer than its size': request(['Transfer-Encoding: chunked'], '1\r\nhello\r\n0\r\n\r\n'),
  'a chunk that ends with a line feed': request(['Transfer-Encoding: chunked'], '5\nhello\n0\n\n'),
  'an extension with a line feed': request(['Transfer-Encoding: chunked'], '5;a\nb\r\nhello\r\n0\r\n\r\n'),
  'no version': latin1(`POST ${link}\r\nHost: h\r\n\r\n`),
  'another version': latin1(`POST ${link} HTTP/3.1\r\nHost: h\r\n\r\n`),
  'an invalid method': latin1(`P@ST ${link} HTTP/1.1\r\nHost: h\r\n\r\n`),
}

t.test('an ambiguous request is refused, and no request after it is answered', async (t) => {
  for (const [about, bytes] of Object.entries(hostile)) {
    const connection = await openConnection(port)
    connection.socket.on('error', () => {})
    await connection.send(Buffer.concat([bytes, Buffer.from(SMUGGLED)]))
    const answers = []
    for (;;) {
      const answer = await connection.answer().catch(() => undefined)
      if (!answer) break
      answers.push(answer.statusCode)
      if (answers.length > 1) break
    }
    t.strictSame(answers, [400], about)
    connection.socket.destroy()
  }
})

t.test('a similar but valid request is accepted', async (t) => {
  for (const [about, bytes] of Object.entries({
    'a length': request([`Content-Length: ${length}`], payload),
    'a length after zeros and between blanks': request([`Content-Length:  \t000${length} `], payload),
    chunks: request(['Transfer-Encoding: chunked'], latin1(chunked)),
    'chunks with a coding in upper case': request(['transfer-encoding: Chunked'], latin1(chunked)),
    'an extension of a chunk': request(
      ['Transfer-Encoding: chunked'],
      latin1(chunked.replace('\r\n', ';a=b\r\n')),
    ),
    'a trailer': request(
      ['Transfer-Encoding: chunked'],
      latin1(chunked.replace(/\r\n$/, 'X-After: 1\r\n\r\n')),
    ),
  })) {
    const connection = await openConnection(port)
    await connection.send(Buffer.concat([bytes, Buffer.from(SMUGGLED)]))
    t.equal((await connection.answer()).statusCode, 200, about)
    t.match(
      await connection.answer(),
      { statusCode: 200, body: '{"status":"ok"}' },
      `${about}: and what follows`,
    )
    connection.socket.destroy()
  }
})

t.test('a request without a host is refused with problem details', async (t) => {
  for (const [line, body] of [
    ['GET /livez HTTP/1.1', ''],
    [`POST ${link} HTTP/1.1`, 'x'.repeat(100_000)],
  ]) {
    const connection = await openConnection(port)
    await connection.send(`${line}\r\nContent-Length: ${body!.length}\r\n\r\n${body}`)
    const answer = await connection.answer()
    isProblem(t, answer, 400, 'invalid-request', /Host/, line)
    t.equal(answer.headers.connection, 'close')
    connection.socket.destroy()
  }
  const old = await openConnection(port)
  await old.send('GET /livez HTTP/1.0\r\n\r\n')
  t.equal((await old.answer()).statusCode, 200, 'HTTP/1.0 has no Host')
})
