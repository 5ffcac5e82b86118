import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { type App, admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart, type TestPart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const keysOf = async (app: App) => (await Array.fromAsync(objectsOf(app).list())).map(({ key }) => key).sort()

eachDatabase(async (t, env) => {
  const app = await build(t, { MAX_FILE_SIZE: '20000B', MAX_FILES: '5', INLINE_LIMIT: '10000B', ...env })
  await app.listen({ port: 0 })
  const { port } = app.server.address() as AddressInfo
  const link = await makeLink(app)
  const upload = (...parts: TestPart[]) => app.inject({ method: 'POST', url: link, ...multipart(parts) })

  await t.test('several images are stored in the order of the parts, and are served unchanged', async (t) => {
    const images = await Promise.all([
      makeImage('png'),
      makeImage('jpeg', { model: 'Box 1' }),
      makeImage('webp'),
    ])
    const answer = await upload(...images.map((body, n) => ({ body, filename: `${n}.bin` })))
    t.equal(answer.statusCode, 200)
    const { processed, rejected } = answer.json()
    t.strictSame(rejected, [])
    t.match(
      processed,
      images.map((body, n) => ({
        name: `${n}.bin`,
        id: /^[0-9A-Za-z]{48}$/,
        hash: sha256(body),
        size: body.length,
        duplicate: false,
        status: 'ready',
        metadata: {
          format: ['PNG', 'JPEG', 'WebP'][n],
          mediaType: ['image/png', 'image/jpeg', 'image/webp'][n],
          width: 8,
          height: 6,
          shownWidth: 8,
          shownHeight: 6,
          ...(n === 1 && { cameraMake: 'Acme', cameraModel: 'Box 1', orientation: 1 }),
          bitDepth: 8,
          colourSpace: 'sRGB',
          hasAlpha: false,
        },
      })),
    )
    for (const [n, { id }] of processed.entries()) {
      const got = await app.inject(`/images/${id}`)
      t.equal(got.statusCode, 200)
      t.equal(got.headers['content-type'], ['image/png', 'image/jpeg', 'image/webp'][n])
      t.ok(images[n]!.equals(got.rawPayload))
    }
  })

  await t.test('a hundred equal uploads at the same time become one image and one object', async (t) => {
    const before = await keysOf(app)
    const url = await makeLink(app)
    const body = await makeImage('jpeg')
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => app.inject({ method: 'POST', url, ...multipart([{ body }]) })),
    )
    t.ok(answers.every(({ statusCode }) => statusCode === 200))
    const processed = answers.map((answer) => answer.json().processed[0])
    const ids = new Set(processed.map(({ id }) => id))
    t.equal(ids.size, 1)
    t.equal(processed.filter(({ duplicate }) => !duplicate).length, 1)
    t.strictSame(
      (await keysOf(app)).filter((key) => !before.includes(key)),
      [...ids],
    )
    const adminUrl = url.replace('/uploads/', '/admin/ephemeral-links/')
    const received = (await app.inject({ url: adminUrl, headers: admin })).json()
    t.equal(received.uploads, 100)
    t.equal(received.bytes, 100 * body.length)
  })

  await t.test('the format is read from the bytes, not from the media type or the name', async (t) => {
    const png = await makeImage('png')
    const type = async (part: TestPart) => {
      const { processed } = (await upload(part)).json()
      return (await app.inject(`/images/${processed[0].id}`)).headers['content-type']
    }
    t.equal(await type({ body: png, type: 'image/jpeg', filename: 'a.jpg' }), 'image/png')
    t.equal(await type({ body: png, type: 'text/plain', filename: 'a.txt' }), 'image/png')
    const headers = { 'Content-Disposition': 'form-data; name="plain"' }
    t.equal(await type({ body: png, headers }), 'image/png')
  })

  await t.test('a part that is rejected has a reason, and does not affect the parts beside it', async (t) => {
    const png = await makeImage()
    const disposition = 'form-data; name="image"; filename="x"'
    const details: Record<string, RegExp> = {
      'no-image': /at least one part/,
      'too-large': /at most 5 files of at most 20000 bytes/,
      'malformed-multipart': /boundary.*name.*digest/,
      'digest-mismatch': /Send the part again/,
    }
    const digest = (bytes: Buffer) => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`
    for (const [about, part, reason, status, problem] of [
      ['text', { body: 'hello', type: 'text/plain' }, 'not_an_image', 415, 'no-image'],
      ['text declared as PNG', { body: 'hello' }, 'not_an_image', 415, 'no-image'],
      ['much text', { body: 'hello '.repeat(3000) }, 'not_an_image', 415, 'no-image'],
      [
        'HTML that begins like a GIF',
        { body: 'GIF89a<html><script>alert(1)</script></html>', type: 'image/gif' },
        'not_an_image',
        415,
        'no-image',
      ],
      ['PDF', { body: '%PDF-1.4\n%âãÏÓ\n' }, 'not_an_image', 415, 'no-image'],
      ['a PNG of 8 bytes', { body: png.subarray(0, 8) }, 'not_an_image', 415, 'no-image'],
      ['no bytes', { body: '' }, 'empty', 415, 'no-image'],
      ['too many bytes', { body: Buffer.concat([png, Buffer.alloc(20_001)]) }, 'too_large', 413, 'too-large'],
      [
        'no name',
        { body: png, headers: { 'Content-Disposition': 'form-data; filename="x.png"' } },
        'malformed',
        400,
        'malformed-multipart',
      ],
      [
        'no disposition',
        { body: png, headers: { 'Content-Type': 'image/png' } },
        'malformed',
        400,
        'malformed-multipart',
      ],
      ['no header at all', { body: png, headers: {} }, 'malformed', 400, 'malformed-multipart'],
      [
        'another disposition',
        { body: png, headers: { 'Content-Disposition': 'attachment; name="a"' } },
        'malformed',
        400,
        'malformed-multipart',
      ],
      [
        'base64',
        {
          body: png.toString('base64'),
          headers: { 'Content-Disposition': disposition, 'Content-Transfer-Encoding': 'base64' },
        },
        'unsupported_encoding',
        415,
        'unsupported-transfer-encoding',
      ],
      [
        'another digest',
        {
          body: png,
          headers: { 'Content-Disposition': disposition, 'Content-Digest': digest(Buffer.from('other')) },
        },
        'digest_mismatch',
        400,
        'digest-mismatch',
      ],
      [
        'another representation digest',
        {
          body: png,
          headers: { 'Content-Disposition': disposition, 'Repr-Digest': digest(Buffer.from('other')) },
        },
        'digest_mismatch',
        400,
        'digest-mismatch',
      ],
      [
        'a digest that is none',
        { body: png, headers: { 'Content-Disposition': disposition, 'Content-Digest': 'sha-256=nonsense' } },
        'malformed',
        400,
        'malformed-multipart',
      ],
    ] as [string, TestPart, string, number, string][]) {
      const before = await keysOf(app)
      const alone = await upload(part)
      isProblem(t, alone, status, problem, details[problem], about)
      t.strictSame(
        alone.json().rejected.map((rejected: { reason: string }) => rejected.reason),
        [reason],
        about,
      )
      const good = await makeImage()
      const beside = await upload({ body: good, filename: 'good' }, part, { body: good, filename: 'again' })
      t.equal(beside.statusCode, 200, about)
      t.match(
        beside.json(),
        { processed: [{ name: 'good' }, { name: 'again' }], rejected: [{ reason }] },
        about,
      )
      t.equal((await keysOf(app)).length, before.length + 1, `${about}: leaves no object`)
    }
    const mixed = await upload({ body: 'text' }, { body: Buffer.concat([png, Buffer.alloc(20_001)]) })
    isProblem(t, mixed, 415, 'no-image')
    t.match(mixed.json().rejected, [{ reason: 'not_an_image' }, { reason: 'too_large' }])
  })

  await t.test('each part is reported once, for every kind of fault', async (t) => {
    const body = await makeImage()
    const disposition = (value: string) => ({ 'Content-Disposition': value })
    const bad: TestPart[] = [
      { body, headers: disposition('attachment; name="x"; filename="one"') },
      { body, headers: disposition('form-data; filename="two"') },
      { body, headers: disposition("form-data; filename*=UTF-8''three") },
      { body: '', filename: 'four' },
    ]
    const rejected = [
      { name: 'one', reason: 'malformed' },
      { name: 'two', reason: 'malformed' },
      { name: 'three', reason: 'malformed' },
      { name: 'four', reason: 'empty' },
    ]
    for (const [at, parts] of [
      [0, [{ body, filename: 'good' }, ...bad]],
      [4, [...bad, { body, filename: 'good' }]],
      [2, [...bad.slice(0, 2), { body, filename: 'good' }, ...bad.slice(2)]],
    ] as const) {
      const answer = (await upload(...parts)).json()
      t.match(answer.processed, [{ name: 'good' }], `a good one at ${at}`)
      t.strictSame(answer.rejected, rejected, `a good one at ${at}`)
    }
    // Header fields that never end.
    const endless = '--the-boundary\r\nContent-Disposition: form-data; name="a"\r\n--the-boundary--\r\n'
    const answer = await app.inject({
      method: 'POST',
      url: link,
      ...multipart([{ body, filename: 'good' }], { end: endless }),
    })
    t.match(answer.json(), { processed: [{ name: 'good' }], rejected: [{ name: '', reason: 'malformed' }] })
  })

  await t.test('a matching digest is accepted, one of an unknown algorithm is ignored', async (t) => {
    const body = await makeImage()
    const value = (algorithm: string) => createHash(algorithm).update(body).digest('base64')
    for (const field of [
      `sha-256=:${value('sha256')}:`,
      `sha-512=:${value('sha512')}:`,
      `sha-256=:${value('sha256')}:, sha-512=:${value('sha512')}:`,
      'md5=:AAAA:',
    ]) {
      const headers = { 'Content-Disposition': 'form-data; name="a"; filename="b"', 'Content-Digest': field }
      t.equal((await upload({ body, headers })).statusCode, 200, field)
    }
  })

  await t.test(
    'a file of the maximum size is accepted, and is pending if it is larger than INLINE_LIMIT',
    async (t) => {
      const png = await makeImage()
      const full = Buffer.concat([png, Buffer.alloc(20_000 - png.length)])
      const { processed } = (await upload({ body: full })).json()
      t.match(processed, [{ size: 20_000, status: 'pending' }])
      t.ok(full.equals((await app.inject(`/images/${processed[0].id}`)).rawPayload))
    },
  )

  await t.test(
    'names are stored without control characters, in NFC, and with at most 255 characters',
    async (t) => {
      const body = await makeImage()
      for (const [filename, name] of [
        ['holiday.png', 'holiday.png'],
        ['🏖️ été.png', '🏖️ été.png'],
        ['../../etc/passwd', 'passwd'],
        ['C:\\\\pictures\\\\cat.png', 'cat.png'],
        ['a\0b\u0007c.png', 'abc.png'],
        [`${'long'.repeat(2500)}.png`, 'long'.repeat(64).slice(0, 255)],
        ['', 'image'],
        ['..', 'image'],
        ['  blanks  ', 'blanks'],
        ['family 👨‍👩‍👧.png', 'family 👨‍👩‍👧.png'],
        ['\u202egnp.exe', 'gnp.exe'], // would be shown as exe.png
        ['🎉'.repeat(300), '🎉'.repeat(255)],
        ['e\u0301te\u0301.png', '\u00e9t\u00e9.png'],
      ] as const) {
        t.match((await upload({ body, filename })).json().processed, [{ name }], filename.slice(0, 20))
      }
      for (const name of ['constructor', '__proto__', 'hasOwnProperty']) {
        const field = { 'Content-Disposition': `form-data; name="${name}"` }
        t.match((await upload({ body, headers: field })).json().processed, [{ name }])
      }
      const field = { 'Content-Disposition': 'form-data; name="field"' }
      t.match((await upload({ body, headers: field })).json().processed, [{ name: 'field' }])
      const other = { 'Content-Disposition': `form-data; name="a"; filename*=utf-16le''%00%d8` }
      t.ok((await upload({ body, headers: other })).json().processed[0].name.isWellFormed())
      const crlf = await upload({ body, filename: 'a\r\nX-Evil: 1\r\n.png' })
      t.ok(crlf.statusCode < 500)
    },
  )

  await t.test('parts above MAX_FILES are rejected by name', async (t) => {
    const parts = await Promise.all(
      Array.from({ length: 7 }, async (_, n) => ({ body: await makeImage(), filename: `${n}` })),
    )
    const answer = await upload(...parts)
    t.equal(answer.statusCode, 200)
    t.equal(answer.json().processed.length, 5)
    t.strictSame(answer.json().rejected, [
      { name: '5', reason: 'too_many_files' },
      { name: '6', reason: 'too_many_files' },
    ])
    const body = await makeImage()
    const flood = await upload(...Array.from({ length: 500 }, () => ({ body })))
    t.equal(flood.statusCode, 200)
    t.ok(flood.json().rejected.length < 150, 'the answer to a flood is bounded')
  })

  await t.test('a request that is neither multipart/form-data nor an image is refused', async (t) => {
    const { payload } = multipart([{ body: await makeImage() }])
    for (const [type, body, status, problem] of [
      ['application/json', '{}', 415, 'not-multipart'],
      ['application/json', '{', 415, 'not-multipart'],
      ['text/plain', 'hello', 415, 'not-multipart'],
      ['image/png', undefined, 415, 'no-image'],
      ['application/x-www-form-urlencoded', 'a=b', 415, 'not-multipart'],
      ['multipart/mixed; boundary=the-boundary', payload, 415, 'not-multipart'],
      [undefined, undefined, 415, 'not-multipart'],
      ['multipart/form-data', payload, 400, 'malformed-multipart'],
      ['multipart/form-data; boundary=', payload, 400, 'malformed-multipart'],
      ['multipart/form-data; boundary=another', payload, 400, 'malformed-multipart'],
      ['multipart/form-data; boundary=the-boundary', undefined, 415, 'no-image'],
      ['multipart/form-data; boundary=the-boundary', '--the-boundary--\r\n', 415, 'no-image'],
      ['multipart/form-data; boundary=the-boundary', payload.subarray(0, -30), 400, 'malformed-multipart'],
    ] as const) {
      const answer = await app.inject({
        method: 'POST',
        url: link,
        headers: type ? { 'content-type': type } : {},
        ...(body !== undefined && { payload: body }),
      })
      isProblem(t, answer, status, problem, /./, `${type} ${String(body).slice(0, 20)}`)
    }
  })

  await t.test('the complete parts of a body without its last boundary are accepted', async (t) => {
    const [first, second] = [await makeImage(), await makeImage()]
    const { headers, payload } = multipart([
      { body: first, filename: 'whole' },
      { body: second, filename: 'half' },
    ])
    const answer = await app.inject({ method: 'POST', url: link, headers, payload: payload.subarray(0, -60) })
    t.equal(answer.statusCode, 200)
    t.match(answer.json(), {
      processed: [{ name: 'whole' }],
      rejected: [{ name: 'half', reason: 'incomplete' }],
    })
  })

  await t.test('a broken connection leaves nothing of the incomplete part', async (t) => {
    const [first, second] = [await makeImage(), await makeImage()]
    const { headers, payload } = multipart([{ body: first }, { body: second }])
    const before = await keysOf(app)
    for (const length of [payload.length - 100, payload.length - 60]) {
      const socket = connect(port, '127.0.0.1')
      socket.write(
        `POST ${link} HTTP/1.1\r\nHost: h\r\nContent-Type: ${headers['content-type']}\r\nContent-Length: ${payload.length}\r\n\r\n`,
      )
      socket.write(payload.subarray(0, length))
      await sleep(300)
      socket.destroy()
    }
    await sleep(300)
    t.equal((await keysOf(app)).length, before.length + 1, 'the part that came whole is kept, once')
  })

  await t.test(
    'a client that still sends reads the response, and can use the connection again',
    async (t) => {
      const { headers, payload } = multipart([{ body: Buffer.alloc(5_000_000) }])
      const socket = connect(port, '127.0.0.1')
      let received = ''
      socket.setEncoding('utf8').on('data', (data) => {
        received += data
      })
      const post = (url: string, type: string) =>
        `POST ${url} HTTP/1.1\r\nHost: h\r\nContent-Type: ${type}\r\nContent-Length: ${payload.length}\r\n\r\n`
      const answers = () => [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
      for (const [url, type] of [
        ['/uploads/unknown', headers['content-type']],
        [link, 'application/json'],
        [link, headers['content-type']],
      ] as const) {
        socket.write(post(url, type))
        socket.write(payload)
      }
      socket.write('GET /livez HTTP/1.1\r\nHost: h\r\n\r\n')
      for (let waited = 0; answers().length < 4 && waited < 100; waited++) await sleep(50)
      t.strictSame(answers(), ['404', '415', '415', '200'])
      socket.destroy()
    },
  )

  await t.test('the body may arrive in chunks of any size', async (t) => {
    const body = await makeImage('jpeg')
    const { headers, payload } = multipart([{ body }])
    for (const size of [1, 7, 1000]) {
      const sent = request({ port, path: link, method: 'POST', headers })
      const answering = once(sent, 'response')
      for (let at = 0; at < payload.length; at += size) sent.write(payload.subarray(at, at + size))
      sent.end()
      const [answer] = await answering
      t.match(JSON.parse(await text(answer)).processed, [{ hash: sha256(body) }], `chunks of ${size}`)
    }
  })
})
