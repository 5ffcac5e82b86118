import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { newId } from '../../services/ids.ts'
import { sign } from '../../services/variants/sign.ts'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { READ_TAGS, TAGS, tiff, withExif } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'

const KEY = '11'.repeat(32)
const OTHER_KEY = '22'.repeat(32)
const PRIVATE = { sinceNow: 'PT1H', private: true }

async function upload(app: App, link?: object, body?: Buffer): Promise<{ id: string; duplicate: boolean }> {
  const url = await makeLink(app, link)
  const answer = await app.inject({
    method: 'POST',
    url,
    ...multipart([{ body: body ?? (await makeImage()) }]),
  })
  return answer.json().processed[0]
}

async function signedUrl(app: App, id: string, body: object = { expiresIn: 'PT1H' }): Promise<string> {
  const answer = await app.inject({
    method: 'POST',
    url: `/admin/images/${id}/signed-url`,
    headers: admin,
    body,
  })
  if (answer.statusCode !== 201) throw new Error(answer.body)
  return answer.json().relativePath
}

/** A response without what differs between any two requests. */
const responseTo = async (app: App, url: string, headers = {}) => {
  const { statusCode, headers: fields, body } = await app.inject({ url, headers })
  const { date: _date, 'x-request-id': requestId, ...others } = fields
  return { statusCode, fields: others, body: body.replaceAll(String(requestId), '') }
}

async function isHidden(t: Test, app: App, url: string, headers = {}) {
  const unknown = await responseTo(app, `/images/${newId()}`)
  t.equal(unknown.statusCode, 404)
  t.strictSame(await responseTo(app, url, headers), unknown, 'like an unknown id')
  const head = await app.inject({ method: 'HEAD', url, headers })
  t.equal(head.statusCode, 404)
}

/** For tests that need only their own images. */
const app = await build(t)

t.test('a private image needs the token or a signed URL, and is otherwise like an unknown id', async (t) => {
  const app = await build(t)
  const body = await makeImage()
  const { id } = await upload(app, PRIVATE, body)
  const url = `/images/${id}`

  await isHidden(t, app, url)
  await isHidden(t, app, url, { 'x-access-token': 'wrong' })
  await isHidden(t, app, `${url}?metadata=none`)
  const read = await app.inject({ url, headers: admin })
  t.equal(read.statusCode, 200)
  t.ok(read.rawPayload.equals(body))
  t.equal(read.headers['cache-control'], 'private, no-cache')
  t.notOk(read.headers['cache-tag'] ?? read.headers['surrogate-key'], 'no tag for a shared cache')
  await isHidden(t, app, url)
  t.equal((await app.inject({ url: `/admin${url}`, headers: admin })).json().private, true)

  const signed = await signedUrl(app, id)
  t.match(signed, new RegExp(`^${url}\\?expires=\\d+&signature=[\\w-]{43}$`))
  const shown = await app.inject(signed)
  t.equal(shown.statusCode, 200)
  t.ok(shown.rawPayload.equals(body))
  t.equal(shown.headers['cache-control'], 'private, no-cache')
  const etag = shown.headers.etag!
  const again = await app.inject({ url: signed, headers: { 'if-none-match': etag } })
  t.equal(again.statusCode, 304)
  t.equal(again.headers['cache-control'], 'private, no-cache')
  t.equal((await app.inject({ method: 'HEAD', url: signed })).statusCode, 200)
  const part = await app.inject({ url: signed, headers: { range: 'bytes=0-3' } })
  t.equal(part.statusCode, 206)
  t.equal(part.headers['cache-control'], 'private, no-cache')

  const damaged = await upload(app, PRIVATE)
  await app.stores.data.sql`update images set status = 'corrupt' where id = ${damaged.id}`
  await isHidden(t, app, `/images/${damaged.id}`)
})

t.test('the removal of a private image ends its signed URLs at once', async (t) => {
  const { id } = await upload(app, PRIVATE)
  const signed = await signedUrl(app, id)
  t.equal((await app.inject(signed)).statusCode, 200)
  // As another process does it: the caches of this one are not told.
  await app.stores.data.images.remove(id)
  t.equal((await app.inject(signed)).statusCode, 410)
  await isHidden(t, app, `/images/${id}`)
})

t.test('a signed URL is valid for one image, one set of parameters and one time', async (t) => {
  const app = await build(t, { SIGNING_KEY: KEY })
  const [{ id }, other] = [await upload(app, PRIVATE), await upload(app, PRIVATE)]
  const signed = await signedUrl(app, id)
  await isHidden(t, app, signed.replace(id, other.id))
  await isHidden(
    t,
    app,
    signed.replace(/expires=(\d+)/, (_, time) => `expires=${Number(time) + 1}`),
  )
  await isHidden(t, app, signed.replace('?', '?metadata=none&'))
  await isHidden(
    t,
    app,
    signed.replace(/signature=./, (found) => (found.endsWith('A') ? 'signature=B' : 'signature=A')),
  )
  await isHidden(t, app, signed.replace(/&signature=.*/, ''))

  const path = `/images/${id}`
  const expired = String(Math.floor(Date.now() / 1000) - 1)
  const valid = String(Math.floor(Date.now() / 1000) + 60)
  const withKey = (key: string, expires: string) =>
    `${path}?expires=${expires}&signature=${sign(Buffer.from(key, 'hex'), path, { expires })}`
  t.equal((await app.inject(withKey(KEY, valid))).statusCode, 200)
  await isHidden(t, app, withKey(KEY, expired))
  await isHidden(t, app, withKey(OTHER_KEY, valid))
  t.equal((await app.inject(`${path}?signature=${'A'.repeat(43)}`)).statusCode, 400)

  for (const expiresIn of ['P2Y', 'PT0S', 'an hour', 'P']) {
    const refused = await app.inject({
      method: 'POST',
      url: `/admin${path}/signed-url`,
      headers: admin,
      body: { expiresIn },
    })
    t.equal(refused.statusCode, 400, expiresIn)
    t.match(refused.json(), { type: 'urn:hasty:problem:invalid-expiry' })
  }
  const unknown = await app.inject({
    method: 'POST',
    url: `/admin/images/${newId()}/signed-url`,
    headers: admin,
    body: { expiresIn: 'PT1H' },
  })
  t.equal(unknown.statusCode, 404)
})

t.test('two signing keys are accepted, and the first one signs', async (t) => {
  const app = await build(t, { SIGNING_KEY: `${KEY},${OTHER_KEY}` })
  const { id } = await upload(app, PRIVATE)
  const path = `/images/${id}`
  const expires = String(Math.floor(Date.now() / 1000) + 60)
  for (const key of [KEY, OTHER_KEY])
    t.equal(
      (
        await app.inject(
          `${path}?expires=${expires}&signature=${sign(Buffer.from(key, 'hex'), path, { expires })}`,
        )
      ).statusCode,
      200,
    )
  const [, time, signature] = /expires=(\d+)&signature=(.+)/.exec(await signedUrl(app, id))!
  t.equal(signature, sign(Buffer.from(KEY, 'hex'), path, { expires: time }))
})

t.test('IMAGES=private makes every image private', async (t) => {
  const app = await build(t, { IMAGES: 'private' })
  const { id } = await upload(app)
  await isHidden(t, app, `/images/${id}`)
  t.equal((await app.inject({ url: `/images/${id}`, headers: admin })).statusCode, 200)
  t.equal((await app.inject(await signedUrl(app, id))).statusCode, 200)
})

t.test('equal content is one image only among links with the same rules', async (t) => {
  const app = await build(t)
  const body = await makeImage()
  const open = await upload(app, undefined, body)
  const hidden = await upload(app, PRIVATE, body)
  const stripped = await upload(app, { sinceNow: 'PT1H', stripMetadata: true }, body)
  t.equal(new Set([open.id, hidden.id, stripped.id]).size, 3)
  t.notOk(hidden.duplicate || stripped.duplicate)
  for (const [link, first] of [
    [undefined, open],
    [PRIVATE, hidden],
    [{ sinceNow: 'PT1H', maxImages: 5, private: true }, hidden],
    [{ sinceNow: 'PT1H', stripMetadata: true }, stripped],
  ] as const)
    t.match(await upload(app, link, body), { id: first.id, duplicate: true })
})

t.test('images of a link with stripMetadata are served without Exif, XMP and IPTC', async (t) => {
  const jpeg = await sharp({ create: { width: 9, height: 6, channels: 3, background: '#7f3f1f' } })
    .jpeg()
    .toBuffer()
  const photo = withExif(jpeg, Buffer.from(tiff(TAGS)))
  const { id } = await upload(app, { sinceNow: 'PT1H', stripMetadata: true }, photo)
  const served = await app.inject(`/images/${id}`)
  t.equal(served.statusCode, 200)
  t.notOk(served.rawPayload.includes(READ_TAGS.cameraMake ?? 'Contoso'))
  t.equal(served.headers.etag, (await app.inject(`/images/${id}?metadata=none`)).headers.etag)
  const data = (await app.inject({ url: `/admin/images/${id}`, headers: admin })).json()
  t.match(data, { stripMetadata: true, cameraMake: READ_TAGS.cameraMake }, 'the admin sees the metadata')
})

t.test('a link shows its rules to the admin', async (t) => {
  const path = await makeLink(app, { sinceNow: 'PT1H', private: true, stripMetadata: true })
  const url = path.replace('/uploads', '/admin/ephemeral-links')
  t.match((await app.inject({ url, headers: admin })).json(), { private: true, stripMetadata: true })
})

t.test('an object that becomes an image again is private if a link is', async (t) => {
  const app = await build(t)
  const { lifecycle, images } = app.stores.data
  const adopted = () => ({
    id: newId(),
    hash: newId(),
    size: 1,
    region: '',
    tier: 'hot' as const,
    format: 'PNG',
    mediaType: 'image/png',
  })
  const before = adopted()
  await lifecycle.adopt(before)
  t.match(await images.find(before.id), { private: false, stripMetadata: false })
  await makeLink(app, PRIVATE)
  const after = adopted()
  await lifecycle.adopt(after)
  t.match(await images.find(after.id), { private: true, stripMetadata: false })
})

t.test('no other spelling, method or condition of a signed URL gives access', async (t) => {
  const app = await build(t, { SIGNING_KEY: KEY, VARIANT_KEY: OTHER_KEY, GUESS_LIMIT: '0' })
  await app.listen({ port: 0 })
  const { port } = app.server.address() as AddressInfo
  // `inject` would normalise the paths.
  async function statusOf(path: string, method = 'GET', headers = {}) {
    const asking = request({ port, path, method, headers, agent: false }).end()
    const [answer] = (await once(asking, 'response')) as [IncomingMessage]
    answer.resume()
    await once(answer, 'end')
    const { etag, 'cache-control': cacheControl } = answer.headers
    return { status: answer.statusCode, etag, cacheControl }
  }
  const [{ id }, other] = [await upload(app, PRIVATE), await upload(app, PRIVATE)]
  const signed = await signedUrl(app, id, { expiresIn: 'PT1H', w: 12, format: 'png' })
  const first = await statusOf(signed)
  t.match(first, { status: 200, cacheControl: 'private, no-cache' })
  const [, expires, signature] = /expires=(\d+).*signature=(.+)$/.exec(signed)!
  const query = `expires=${expires}&format=png&w=12`
  t.match(await statusOf(`/images/${id}?w=12&${query.replace('&w=12', '')}&signature=${signature}`), {
    status: 200,
  })
  const path = `/images/${id}`
  const by = (key: string, parameters: Record<string, string>) => {
    const text = new URLSearchParams(parameters)
    return `${path}?${text}&signature=${sign(Buffer.from(key, 'hex'), path, parameters)}`
  }
  const spellings = [
    `${path}?${query}`,
    ...[
      'w=12',
      `expires=${expires}`,
      `signature=${signature}`,
      'download',
      'metadata=none',
      'q=80',
      'a=1',
    ].map((more) => `${signed}&${more}`),
    ...[
      ['w=12', 'w=13'],
      ['w=12', 'w=012'],
      ['w=12', '%77=12'],
      ['w=12', 'w=1%32'],
      ['w=12', 'w=+12'],
      ['&w=12', ''],
      ['format=png', 'format=webp'],
      ['format=png', 'format=PNG'],
      [expires, `0${expires}`],
      [expires, `${expires}0`],
      ['signature', 'Signature'],
      [signature, `${signature}=`],
      [
        signature,
        signature!.toLowerCase() === signature ? signature!.toUpperCase() : signature!.toLowerCase(),
      ],
      [signature, signature!.slice(1)],
      [`${path}?`, `${path}#`],
      [`${path}?`, `${path}/?`],
      [`${path}?`, `${path};?`],
      [`${path}?`, `${path}%3F`],
      ['/images/', '//images/'],
      ['/images/', '/./images/'],
      ['/images/', '/images/%2e/'],
      ['/images/', '/images/x/../'],
      ['/images/', '/images%2f'],
      ['/images/', '/Images/'],
      [id, other.id],
      [id, `%${id.charCodeAt(0).toString(16)}${id.slice(1)}`],
    ].map(([from, to]) => signed.replace(from!, to!)),
    `${signed}#`,
    `${signed}#&w=12`,
    // The key of variants opens no private image, and the key of private images allows no size of a public one.
    by(OTHER_KEY, { expires: expires!, w: '12' }),
    by(OTHER_KEY, { w: '12' }),
    by(KEY, { w: '12' }),
    by(KEY, { expires: String(Math.floor(Date.now() / 1000)), w: '12' }),
  ]
  for (const spelling of spellings)
    for (const [method, headers] of [
      ['GET', { 'if-none-match': first.etag }],
      ['HEAD', { 'if-none-match': '*' }],
      ['GET', { range: 'bytes=0-3' }],
      ['GET', { accept: 'image/avif', 'if-modified-since': new Date(Date.now() + 1000).toUTCString() }],
    ] as const) {
      const answer = await statusOf(spelling, method, headers)
      t.ok(answer.status === 404 || answer.status === 400, `${method} ${spelling}: ${answer.status}`)
      t.notOk(answer.etag)
      t.equal(answer.cacheControl, 'no-store')
    }
  t.match(await statusOf(signed, 'GET', { range: 'bytes=999999-' }), {
    status: 416,
    cacheControl: 'no-store',
  })
})

t.test(
  'a public image that becomes private is hidden with its variants, also if they are cached',
  async (t) => {
    const app = await build(t)
    const { id } = await upload(app)
    const url = `/images/${id}?w=160&format=png`
    for (let n = 0; n < 3; n++) t.match((await app.inject(url)).headers['cache-control'], /^public/)
    await app.stores.data.sql`update images set private = true where id = ${id}`
    app.cache.images.clear()
    await isHidden(t, app, url)
    await isHidden(t, app, `/images/${id}`)
    const own = await app.inject({ url, headers: admin })
    t.equal(own.headers['cache-control'], 'private, no-cache')
    t.notOk(own.headers['cache-tag'])
  },
)

t.test('no name of a file can add a header field or another extension to a download', async (t) => {
  const body = await makeImage('png')
  const link = await makeLink(app)
  for (const name of [
    'a\r\nSet-Cookie: x=1.png',
    'a"; filename="evil.html',
    "a'; filename*=UTF-8''evil.html",
    '../../etc/passwd',
    'C:\\Windows\\win.ini',
    'page.html',
    'gpj.\u202Eexe',
    '\u0000\u0007.png',
    '\uFEFF🐩 ä.png',
    '%0d%0aX: y.png',
    'x'.repeat(255),
    '.htaccess',
    '   ',
  ]) {
    // Other bytes each time, so that it is no duplicate.
    const sent = await app.inject({
      method: 'POST',
      url: `${link}?name=${encodeURIComponent(name)}`,
      headers: { 'content-type': 'image/png' },
      payload: Buffer.concat([body, Buffer.from(name)]),
    })
    t.equal(sent.statusCode, 200, sent.body)
    const { headers } = await app.inject(`/images/${sent.json().processed[0].id}?download`)
    t.notOk(headers['set-cookie'] ?? headers.x, name)
    const disposition = String(headers['content-disposition'])
    t.match(
      disposition,
      /^attachment; filename=("[^"\\]+\.png"|[\w.!#$&+^`|~-]+\.png)(; filename\*=UTF-8''[\w.!#$&+^`|~%-]+\.png)?$/,
    )
    const [, extended] = /filename\*=UTF-8''(.*)$/.exec(disposition) ?? []
    t.notMatch(decodeURIComponent(extended ?? ''), /[\p{Cc}\p{Cf}"*/:<>?\\|]/u)
  }
})
