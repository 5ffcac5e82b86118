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
  const app = await build(t)
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
  const app = await build(t)
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
  const app = await build(t)
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
