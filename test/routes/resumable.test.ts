import { createHash, randomBytes } from 'node:crypto'
import { readdir, utimes } from 'node:fs/promises'
import t from 'tap'
import { createLifecycle } from '../../services/lifecycle/index.ts'
import { admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { type Fields, locationOf, pieces, resumableClient } from '../helpers/resumable.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const base64 = (algorithm: string, bytes: Uint8Array) => createHash(algorithm).update(bytes).digest('base64')

const png = await makeImage('png')
/** A different image each time, because bytes after the end of a PNG are ignored. */
const image = (bytes = 1_000) => Buffer.concat([png, randomBytes(bytes)])

const quiet = { info() {}, warn() {}, error() {} }

const app = await build(t, { MAX_FILE_SIZE: '2MiB' })
const client = resumableClient(app)
const { tus, draft } = client
const link = await makeLink(app)
const keys = async () => (await Array.fromAsync(objectsOf(app).list())).map(({ key }) => key).sort()
const unfinished = async () => (await keys()).filter((key) => key.startsWith('incoming/'))

t.test('an upload in pieces gets the response of an upload with one part', async (t) => {
  for (const protocol of ['tus', 'draft'] as const) {
    for (const size of [1_000, 400_000, 1_500_000]) {
      const bytes = image(size)
      const begun =
        protocol === 'tus'
          ? await tus.begin(link, {
              'upload-length': bytes.length,
              'upload-metadata': tus.metadata({ filename: 'a.png' }),
            })
          : await draft.begin(link, {
              'upload-complete': '?0',
              'content-disposition': 'attachment; filename="a.png"',
            })
      t.equal(begun.statusCode, 201)
      const url = locationOf(begun)
      let last = begun
      for (const { offset, piece } of pieces(bytes, 3)) {
        const isLast = offset + piece.length === bytes.length
        last =
          protocol === 'tus'
            ? await tus.append(url, offset, piece)
            : await draft.append(url, offset, piece, { 'upload-complete': isLast ? '?1' : '?0' })
        t.equal(last.statusCode, isLast ? 200 : 204)
        t.equal(last.headers['upload-offset'], String(offset + piece.length))
        t.equal(last.headers['upload-complete'], protocol === 'draft' ? (isLast ? '?1' : '?0') : undefined)
      }
      const form = await app.inject({
        method: 'POST',
        url: link,
        ...multipart([{ body: bytes, filename: 'a.png' }]),
      })
      const [expected] = form.json().processed
      t.equal(expected.hash, sha256(bytes))
      t.equal(expected.duplicate, true)
      t.strictSame(
        last.json(),
        { processed: [{ ...expected, duplicate: false }], rejected: [] },
        `${protocol} ${size}`,
      )
      t.ok(bytes.equals((await app.inject(`/images/${expected.id}`)).rawPayload))

      const state = (await client.get(url)).json()
      t.match(state, {
        offset: bytes.length,
        length: bytes.length,
        complete: true,
        processed: last.json().processed,
      })
      const repeated = await tus.append(url, bytes.length, Buffer.alloc(0))
      t.strictSame(repeated.json(), last.json(), 'a client that lost the last response can ask again')
      t.strictSame(await unfinished(), [])
    }
  }
})

t.test('an upload by tus', async (t) => {
  await t.test('states the supported extensions and limits', async (t) => {
    const answer = await client.call('OPTIONS', `${link}/files`)
    t.equal(answer.statusCode, 204)
    t.match(answer.headers, {
      'tus-resumable': '1.0.0',
      'tus-version': '1.0.0',
      'tus-extension': 'creation,creation-with-upload,creation-defer-length,expiration,checksum,termination',
      'tus-max-size': String(2 ** 21),
      'tus-checksum-algorithm': 'sha1,sha256,sha512,md5',
      'upload-limit': `max-size=${2 ** 21}, max-age=86400`,
    })
  })

  await t.test('may have all bytes in the first request', async (t) => {
    const bytes = image()
    const answer = await tus.begin(link, { 'upload-length': bytes.length, accept: '*/*' }, bytes)
    t.equal(answer.statusCode, 201)
    t.equal(answer.headers['upload-offset'], String(bytes.length))
    t.equal(answer.json().processed[0].hash, sha256(bytes))
  })

  await t.test('may state its length later', async (t) => {
    const bytes = image()
    const begun = await tus.begin(link, { 'upload-defer-length': 1 }, bytes.subarray(0, 100))
    const url = locationOf(begun)
    t.equal(begun.headers['upload-offset'], '100')
    t.match((await tus.head(url)).headers, { 'upload-defer-length': '1', 'upload-offset': '100' })
    const answer = await tus.append(url, 100, bytes.subarray(100), { 'upload-length': bytes.length })
    t.equal(answer.json().processed[0].hash, sha256(bytes))
  })

  await t.test('gets 204 for the last bytes if the client states no Accept', async (t) => {
    const bytes = image()
    const url = locationOf(await tus.begin(link, { 'upload-length': bytes.length }))
    const answer = await client.call(
      'PATCH',
      url,
      { 'tus-resumable': '1.0.0', 'content-type': 'application/offset+octet-stream', 'upload-offset': 0 },
      bytes,
    )
    t.equal(answer.statusCode, 204)
    t.equal((await client.get(url)).json().processed[0].hash, sha256(bytes))
  })

  await t.test('repeats its metadata, and states when it expires', async (t) => {
    const metadata = tus.metadata({ filename: 'a.png', filetype: 'image/png', sender: 'Ada' })
    const begun = await tus.begin(link, { 'upload-length': 10, 'upload-metadata': metadata })
    const answer = await tus.head(locationOf(begun))
    t.match(answer.headers, {
      'upload-metadata': metadata,
      'cache-control': 'no-store',
      'upload-length': '10',
    })
    const expires = new Date(String(answer.headers['upload-expires'])).getTime()
    t.ok(Math.abs(expires - Date.now() - 86_400_000) < 60_000)
  })

  await t.test('does not append bytes with a wrong checksum', async (t) => {
    const bytes = image()
    const url = locationOf(await tus.begin(link, { 'upload-length': bytes.length }))
    for (const algorithm of ['sha1', 'md5']) {
      const wrong = { 'upload-checksum': `${algorithm} ${base64(algorithm, Buffer.from('other'))}` }
      isProblem(t, await tus.append(url, 0, bytes.subarray(0, 500), wrong), 460, 'checksum-mismatch')
      t.equal((await tus.head(url)).headers['upload-offset'], '0')
    }
    const right = { 'upload-checksum': `sha256 ${base64('sha256', bytes.subarray(0, 500))}` }
    t.equal((await tus.append(url, 0, bytes.subarray(0, 500), right)).statusCode, 204)
    isProblem(
      t,
      await tus.append(url, 500, bytes.subarray(500), { 'upload-checksum': 'crc32 AAAA' }),
      400,
      'invalid-request',
    )
    t.equal((await tus.append(url, 500, bytes.subarray(500))).json().processed[0].hash, sha256(bytes))
  })

  await t.test('can be deleted, and leaves nothing', async (t) => {
    const url = locationOf(await tus.begin(link, { 'upload-length': 5_000 }, png))
    const before = (await unfinished()).length
    t.equal((await client.remove(url)).statusCode, 204)
    t.equal((await unfinished()).length, before - 1)
    isProblem(t, await tus.head(url).then(() => client.get(url)), 404, 'upload-not-found')
    isProblem(t, await client.remove(url), 404, 'upload-not-found')
  })

  await t.test('may send PATCH, HEAD and DELETE as POST', async (t) => {
    const bytes = image()
    const url = locationOf(await tus.begin(link, { 'upload-length': bytes.length }))
    const override = (method: string, headers: Record<string, string | number>, payload?: Buffer) =>
      client.call(
        'POST',
        url,
        { 'tus-resumable': '1.0.0', 'x-http-method-override': method, ...headers },
        payload,
      )
    const patch = { 'content-type': 'application/offset+octet-stream', 'upload-offset': 0 }
    t.equal((await override('PATCH', patch, bytes.subarray(0, 100))).headers['upload-offset'], '100')
    t.equal((await override('HEAD', {})).headers['upload-offset'], '100')
    t.equal((await override('DELETE', {})).statusCode, 204)
    isProblem(t, await override('PUT', {}), 400, 'invalid-request')
  })

  await t.test('ignores X-HTTP-Method-Override in other requests', async (t) => {
    const fields = { 'x-http-method-override': 'DELETE' }
    const url = locationOf(await tus.begin(link, { 'upload-length': 5 }))
    t.equal((await client.call('GET', url, fields)).statusCode, 200)
    t.equal(
      (
        await client.call('POST', `${link}/files`, {
          ...fields,
          'tus-resumable': '1.0.0',
          'upload-length': 5,
        })
      ).statusCode,
      201,
    )
    const linkUrl = `/admin/ephemeral-links/${link.split('/').at(-1)}`
    isProblem(t, await client.call('POST', linkUrl, { ...admin, ...fields }), 405, 'method-not-allowed')
    t.match((await client.call('GET', linkUrl, { ...admin, ...fields })).json(), { status: 'open' })
  })

  await t.test('may have the fields of the IETF draft, which then must not contradict it', async (t) => {
    const both = { 'tus-resumable': '1.0.0', 'upload-draft-interop-version': '8' }
    const bytes = image()
    const begin = (fields: Fields, payload?: Buffer) =>
      client.call('POST', `${link}/files`, { ...both, ...fields }, payload)
    const octets = { 'content-type': 'application/octet-stream', 'upload-complete': '?1' }
    t.equal((await begin({ ...octets, 'upload-length': 10 }, bytes)).statusCode, 400)
    const url = locationOf(await begin({ 'upload-length': bytes.length, 'upload-complete': '?0' }))
    const append = (type: string, offset: number, payload: Buffer) =>
      client.call(
        'PATCH',
        url,
        { ...both, 'upload-offset': offset, 'upload-complete': '?1', 'content-type': type },
        payload,
      )
    isProblem(t, await append('application/partial-upload', 0, bytes), 400, 'invalid-request')
    t.equal(
      (await append('application/offset+octet-stream', 0, bytes.subarray(0, 500))).statusCode,
      204,
      'not complete',
    )
    t.equal((await tus.head(url)).headers['upload-offset'], '500')
    t.equal((await tus.append(url, 500, bytes.subarray(500))).json().processed[0].hash, sha256(bytes))
  })

  await t.test('is refused with wrong fields', async (t) => {
    const begin = (headers: Record<string, string | number>) => tus.begin(link, headers)
    isProblem(t, await begin({}), 400, 'invalid-request')
    isProblem(t, await begin({ 'upload-length': '-1' }), 400, 'invalid-request')
    isProblem(t, await begin({ 'upload-length': '1e3' }), 400, 'invalid-request')
    isProblem(t, await begin({ 'upload-length': 5, 'upload-defer-length': 1 }), 400, 'invalid-request')
    isProblem(t, await begin({ 'upload-length': 5, 'upload-metadata': 'filename *' }), 400, 'invalid-request')
    isProblem(
      t,
      await begin({ 'upload-length': 5, 'upload-metadata': 'a YQ==,a YQ==' }),
      400,
      'invalid-request',
    )
    isProblem(t, await begin({ 'upload-length': 2 ** 21 + 1 }), 413, 'too-large')
    const old = await tus.begin(link, { 'upload-length': 5, 'tus-resumable': '0.2.2' })
    isProblem(t, old, 412, 'unsupported-tus-version')
    t.equal(old.headers['tus-version'], '1.0.0')
    const url = locationOf(await begin({ 'upload-length': 500 }))
    isProblem(t, await tus.append(url, 0, png, { 'content-type': 'image/png' }), 400, 'invalid-request')
    t.match((await tus.append(url, 0, Buffer.alloc(501))).json(), {
      status: 400,
      type: /#inconsistent-upload-length$/,
    })
    t.match((await tus.append(url, 7, png.subarray(0, 10))).json(), {
      status: 409,
      type: /#mismatching-upload-offset$/,
    })
    t.equal((await tus.head(url)).headers['upload-offset'], '0')
  })
})

t.test('an upload by the IETF draft', async (t) => {
  await t.test('may have all bytes in the first request', async (t) => {
    const bytes = image()
    const answer = await draft.begin(link, { 'upload-complete': '?1', 'upload-length': bytes.length }, bytes)
    t.equal(answer.statusCode, 200)
    t.equal(answer.headers['upload-complete'], '?1')
    t.equal(answer.json().processed[0].hash, sha256(bytes))
  })

  await t.test('may be completed by a request without bytes', async (t) => {
    const bytes = image()
    const url = locationOf(await draft.begin(link, { 'upload-complete': '?0' }, bytes))
    t.match((await draft.head(url)).headers, {
      'upload-offset': String(bytes.length),
      'upload-complete': '?0',
    })
    const answer = await draft.append(url, bytes.length, Buffer.alloc(0), { 'upload-complete': '?1' })
    t.equal(answer.json().processed[0].hash, sha256(bytes))
  })

  await t.test("gets the draft's problem types", async (t) => {
    const types = 'https://iana.org/assignments/http-problem-types#'
    const bytes = image()
    const url = locationOf(
      await draft.begin(link, { 'upload-complete': '?0', 'upload-length': bytes.length }),
    )
    const mismatching = await draft.append(url, 25, bytes, { 'upload-complete': '?1' })
    t.equal(mismatching.statusCode, 409)
    t.match(mismatching.headers, { 'upload-offset': '0', 'upload-complete': '?0' })
    t.match(mismatching.json(), {
      type: `${types}mismatching-upload-offset`,
      'expected-offset': 0,
      'provided-offset': 25,
    })
    const short = await draft.append(url, 0, bytes.subarray(1), { 'upload-complete': '?1' })
    t.match(short.json(), { type: `${types}inconsistent-upload-length`, status: 400 })
    t.equal((await draft.append(url, 0, bytes, { 'upload-complete': '?1' })).statusCode, 200)
    const again = await draft.append(url, 5, bytes, { 'upload-complete': '?1' })
    t.match(again.json(), { type: `${types}completed-upload`, status: 400 })
  })

  await t.test('ignores fields that are not valid structured fields', async (t) => {
    for (const value of ['true', '1', '?2', '']) {
      const answer = await draft.begin(link, { 'upload-complete': value }, png)
      isProblem(t, answer, 400, 'invalid-request')
    }
    const begun = await draft.begin(link, { 'upload-complete': '?0', 'upload-length': '"5"' })
    t.equal(begun.headers['upload-length'], undefined)
  })

  await t.test('compares the digests of the whole file and of each request', async (t) => {
    const bytes = image()
    const digest = (of: Uint8Array) => `sha-256=:${base64('sha256', of)}:`
    const wrong = locationOf(
      await draft.begin(link, { 'upload-complete': '?0', 'repr-digest': digest(Buffer.from('other')) }),
    )
    const refused = await draft.append(wrong, 0, bytes, { 'upload-complete': '?1' })
    isProblem(t, refused, 400, 'digest-mismatch')
    t.equal(refused.headers['upload-complete'], '?1', 'the result does not change any more')
    const url = locationOf(await draft.begin(link, { 'upload-complete': '?0', 'repr-digest': digest(bytes) }))
    const changed = { 'upload-complete': '?0', 'content-digest': digest(Buffer.from('other')) }
    isProblem(t, await draft.append(url, 0, bytes.subarray(0, 99), changed), 460, 'checksum-mismatch')
    const answer = await draft.append(url, 0, bytes, {
      'upload-complete': '?1',
      'content-digest': digest(bytes),
    })
    t.equal(answer.statusCode, 200)
  })

  await t.test('refuses a part of a file at the URL for whole files', async (t) => {
    const headers = { 'upload-complete': '?0', 'content-type': 'image/png' }
    isProblem(t, await client.call('POST', link, headers, png), 400, 'invalid-request', /\/files/)
  })
})

t.test('a file that is not accepted', async (t) => {
  for (const protocol of ['tus', 'draft'] as const) {
    const text = Buffer.from('hello '.repeat(2_000))
    const url = locationOf(
      protocol === 'tus'
        ? await tus.begin(link, { 'upload-length': text.length })
        : await draft.begin(link, { 'upload-complete': '?0' }),
    )
    const send = protocol === 'tus' ? tus.append : draft.append
    const answer = await send(url, 0, text, protocol === 'tus' ? {} : { 'upload-complete': '?1' })
    isProblem(t, answer, 415, 'no-image')
    t.match(answer.json().rejected, [{ reason: 'not_an_image' }])
    const state = (await client.get(url)).json()
    t.match(state, { complete: true, processed: [], rejected: [{ reason: 'not_an_image' }] })
    t.strictSame(
      (await unfinished()).filter((key) => key.includes(state.id)),
      [],
    )
  }
  const deferred = locationOf(await tus.begin(link, { 'upload-defer-length': 1 }))
  const large = await tus.append(deferred, 0, image(2 ** 21))
  isProblem(t, large, 413, 'too-large')
})

t.test('the limits of a link', async (t) => {
  await t.test('are checked before a byte is sent, and exactly at the end', async (t) => {
    const bytes = image()
    const small = await makeLink(app, { sinceNow: 'PT1H', maxBytes: bytes.length, maxImages: 1 })
    isProblem(t, await tus.begin(small, { 'upload-length': bytes.length + 1 }), 410, 'link-used-up')
    const urls = []
    for (let n = 0; n < 2; n++)
      urls.push(locationOf(await tus.begin(small, { 'upload-length': bytes.length })))
    const read = async () =>
      (
        await app.inject({ url: small.replace('/uploads/', '/admin/ephemeral-links/'), headers: admin })
      ).json()
    t.match(await read(), { uploads: 0, bytes: 0 }, 'unfinished uploads are not counted')
    for (const url of urls) t.equal((await tus.append(url, 0, bytes.subarray(0, 500))).statusCode, 204)
    t.equal((await tus.append(urls[0]!, 500, bytes.subarray(500))).statusCode, 200)
    isProblem(t, await tus.append(urls[1]!, 500, bytes.subarray(500)), 410, 'link-used-up')
    t.match(await read(), { uploads: 1, bytes: bytes.length })
  })

  await t.test('are at most 100 unfinished uploads, also if all begin at the same time', async (t) => {
    const url = await makeLink(app)
    const answers = await Promise.all(
      Array.from({ length: 105 }, () => tus.begin(url, { 'upload-length': 10 })),
    )
    t.equal(answers.filter(({ statusCode }) => statusCode === 201).length, 100)
    const refused = answers.filter(({ statusCode }) => statusCode === 429)
    t.equal(refused.length, 5)
    t.ok(Number(refused[0]!.headers['retry-after']) > 0)
    await client.remove(locationOf(answers.find(({ statusCode }) => statusCode === 201)!))
    t.equal((await tus.begin(url, { 'upload-length': 10 })).statusCode, 201)
  })

  await t.test('apply to a link that is revoked during the upload', async (t) => {
    const url = await makeLink(app)
    const bytes = image()
    const upload = locationOf(await tus.begin(url, { 'upload-length': bytes.length }, bytes.subarray(0, 100)))
    await app.inject({
      method: 'DELETE',
      url: url.replace('/uploads/', '/admin/ephemeral-links/'),
      headers: admin,
    })
    isProblem(t, await tus.append(upload, 100, bytes.subarray(100)), 410, 'link-revoked')
    isProblem(t, await tus.begin(url, { 'upload-length': 5 }), 410, 'link-revoked')
  })
})

t.test('the rules of a link apply to both protocols', async (t) => {
  const jpeg = await makeImage('jpeg')
  const bytes = image()
  const hour = { sinceNow: 'PT1H' }
  const password = 'heron 47'
  const authorization = `Basic ${Buffer.from(`:${password}`).toString('base64')}`
  for (const protocol of ['tus', 'draft'] as const) {
    /** Begins an upload, with all its bytes if there are any. */
    const begin = (
      url: string,
      length: number,
      { body, headers = {}, query = '' }: { body?: Buffer; headers?: Fields; query?: string } = {},
    ) => {
      const path = `${url}/files${query}`
      const fields = { 'upload-length': length, ...(body && { 'content-length': body.length }), ...headers }
      return protocol === 'tus'
        ? client.call(
            'POST',
            path,
            {
              'tus-resumable': '1.0.0',
              accept: '*/*',
              ...(body && { 'content-type': 'application/offset+octet-stream' }),
              ...fields,
            },
            body,
          )
        : client.call(
            'POST',
            path,
            {
              'upload-complete': body ? '?1' : '?0',
              'content-type': 'application/octet-stream',
              'content-length': 0,
              ...fields,
            },
            body,
          )
    }
    const accepted = protocol === 'tus' ? 201 : 200

    await t.test(`${protocol}: media types`, async (t) => {
      const url = await makeLink(app, { ...hour, accept: ['image/png'] })
      isProblem(t, await begin(url, jpeg.length, { body: jpeg }), 415, 'not-accepted')
      t.equal((await begin(url, bytes.length, { body: bytes })).statusCode, accepted)
    })

    await t.test(`${protocol}: the size of a file, before a byte and at the end`, async (t) => {
      const url = await makeLink(app, { ...hour, maxFileSize: bytes.length - 1 })
      isProblem(t, await begin(url, bytes.length), 413, 'too-large')
      isProblem(t, await begin(url, bytes.length, { body: bytes }), 413, 'too-large')
      const unknown =
        protocol === 'tus'
          ? await tus.begin(url, { 'upload-defer-length': 1 })
          : await draft.begin(url, { 'upload-complete': '?0' })
      const upload = locationOf(unknown)
      const end =
        protocol === 'tus'
          ? await tus.append(upload, 0, bytes, { 'upload-length': bytes.length })
          : await draft.append(upload, 0, bytes, { 'upload-complete': '?1' })
      isProblem(t, end, 413, 'too-large')
    })

    await t.test(`${protocol}: the time when the link opens`, async (t) => {
      const opensOn = new Date(Date.now() + 60_000).toISOString()
      const url = await makeLink(app, { ...hour, opensOn })
      isProblem(t, await begin(url, bytes.length), 403, 'link-not-open', new RegExp(opensOn))
    })

    await t.test(`${protocol}: the password, for each request that sends bytes`, async (t) => {
      const url = await makeLink(app, { ...hour, password })
      isProblem(t, await begin(url, bytes.length), 401, 'password-required')
      const wrong = { authorization: `Basic ${Buffer.from(':wrong').toString('base64')}` }
      isProblem(t, await begin(url, bytes.length, { headers: wrong }), 401, 'wrong-password')
      const begun = await begin(url, bytes.length, { headers: { authorization } })
      t.equal(begun.statusCode, 201)
      const upload = locationOf(begun)
      const send = protocol === 'tus' ? tus.append : draft.append
      const last: Fields = protocol === 'tus' ? {} : { 'upload-complete': '?1' }
      isProblem(t, await send(upload, 0, bytes, last), 401, 'password-required')
      t.equal((await send(upload, 0, bytes, { ...last, authorization })).statusCode, 200)
    })

    await t.test(`${protocol}: the name of the sender`, async (t) => {
      const url = await makeLink(app, { ...hour, askSender: 'required' })
      isProblem(t, await begin(url, bytes.length), 400, 'sender-required')
      const long = `?sender=${'x'.repeat(101)}`
      isProblem(t, await begin(url, bytes.length, { query: long }), 400, 'invalid-sender')
      const own = image()
      const answer = await begin(url, own.length, { body: own, query: '?sender=Ada&message=Hello' })
      t.equal(answer.statusCode, accepted)
      const { id } = answer.json().processed[0]
      const [upload] = await app.stores.data.sql`select sender, message from uploads where image_id = ${id}`
      t.match(upload, { sender: 'Ada', message: 'Hello' })
    })
  }
})

t.test('an upload belongs to its link', async (t) => {
  const url = locationOf(await tus.begin(link, { 'upload-length': 10 }))
  const other = await makeLink(app)
  isProblem(t, await client.get(url.replace(link, other)), 404, 'upload-not-found')
  isProblem(t, await tus.append(url.replace(link, other), 0, png.subarray(0, 10)), 404, 'upload-not-found')
  isProblem(t, await client.get(`${link}/files/unknown`), 404, 'upload-not-found')
})

t.test('the sweep deletes what has expired, and nothing that can be continued', async (t) => {
  const app = await build(t, { SWEEP_GRACE: 'PT1S' })
  const { tus, draft, ...client } = resumableClient(app)
  const link = await makeLink(app)
  const keys = async () => (await Array.fromAsync(objectsOf(app).list())).map(({ key }) => key)
  const lifecycle = createLifecycle({ stores: app.stores, log: quiet, config: app.config })
  const sweep = () => lifecycle.sweep({ signal: new AbortController().signal })
  const url = locationOf(await tus.begin(link, { 'upload-length': 5_000 }, image(500).subarray(0, 100)))
  const bytes = image()
  const finished = locationOf(await tus.begin(link, { 'upload-length': bytes.length }, bytes))
  // Segments look old, as if they had waited for a day.
  const incoming = `${app.config.dataDir}/objects/incoming`
  for (const name of await readdir(incoming)) await utimes(`${incoming}/${name}`, 0, 0)
  await sweep()
  t.equal((await tus.head(url)).headers['upload-offset'], '100')
  t.equal((await keys()).length, 2)

  await app.stores.data.sql`update resumable_uploads set expires_at = now() - interval '1 second'`
  t.equal((await tus.head(url)).statusCode, 404)
  const before = await keys()
  const would = await lifecycle.sweep({ signal: new AbortController().signal, dryRun: true })
  t.match(would, { expiredUploads: 1, failedSteps: 0 }, 'a dry run counts it')
  t.strictSame(await keys(), before)
  t.match(await sweep(), { expiredUploads: 1, failedSteps: 0 })
  t.equal((await client.get(finished)).statusCode, 404)
  t.equal((await app.stores.data.sql`select id from resumable_uploads`).length, 0)
  t.strictSame(
    (await keys()).map((key) => key.startsWith('incoming/')),
    [false],
    'only the finished image is left',
  )
})
