import { createHash } from 'node:crypto'
import sharp from 'sharp'
import t from 'tap'
import { newId } from '../../services/ids.ts'
import { sign } from '../../services/variants/sign.ts'
import { type App, admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { TAGS, tiff, withExif } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

const KEY = '33'.repeat(32)
// Red above green, so that a turn is seen.
const WIDTH = 1200
const HEIGHT = 800
const halves = await sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#f00' } })
  .composite([
    {
      input: { create: { width: WIDTH, height: HEIGHT / 2, channels: 3, background: '#0f0' } },
      gravity: 'south',
    },
  ])
  .jpeg()
  .toBuffer()
const turned = withExif(halves, Buffer.from(tiff(TAGS))) // orientation 6

async function upload(app: App, body: Buffer, { link, name }: { link?: object; name?: string } = {}) {
  const parts = multipart([{ body, ...(name && { filename: name }) }])
  const answer = await app.inject({ method: 'POST', url: await makeLink(app, link), ...parts })
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return answer.json().processed[0].id as string
}
const keysOf = async (app: App) => (await Array.fromAsync(objectsOf(app).list())).map(({ key }) => key)
const rowsOf = (app: App) => app.stores.data.sql`select * from variants`
const colourAt = async (image: Buffer, left: number, top: number) => {
  const pixel = await sharp(image).extract({ left, top, width: 1, height: 1 }).removeAlpha().raw().toBuffer()
  return [...pixel]
}

/** For tests that need only their own images. */
const app = await build(t)

t.test('a variant is small, turned as it is shown, and without metadata', async (t) => {
  const id = await upload(app, turned)
  for (const format of ['jpeg', 'webp', 'avif', 'png'] as const) {
    const got = await app.inject(`/images/${id}?w=160&format=${format}`)
    t.equal(got.statusCode, 200, format)
    t.equal(got.headers['content-type'], `image/${format}`)
    t.equal(got.headers['content-length'], String(got.rawPayload.length))
    const found = await sharp(got.rawPayload).metadata()
    t.match(found, { width: 160, height: 240, format: format === 'avif' ? 'heif' : format })
    t.notOk(found.exif ?? found.xmp ?? found.iptc ?? found.icc ?? found.orientation)
    const [left, right] = [await colourAt(got.rawPayload, 20, 120), await colourAt(got.rawPayload, 140, 120)]
    t.ok(left[1]! > 200 && right[0]! > 200, 'green is left and red is right, as turned clockwise')
  }
})

t.test('a variant fits as the parameters say, and is never enlarged', async (t) => {
  const id = await upload(app, halves)
  for (const [query, width, height] of [
    ['w=320', 320, 213],
    ['h=160', 240, 160],
    ['w=320&h=160', 240, 160],
    ['w=320&h=160&fit=inside', 240, 160],
    ['w=320&h=320&fit=contain', 320, 320],
    ['w=320&h=160&fit=cover', 320, 160],
    ['w=160&h=320&fit=cover', 160, 320],
    ['w=2560', WIDTH, HEIGHT],
    ['w=1280&h=1280&fit=cover', HEIGHT, HEIGHT],
    ['w=160&dpr=2', 320, 213],
  ] as const) {
    const got = await app.inject(`/images/${id}?${query}&format=png`)
    t.match(await sharp(got.rawPayload).metadata(), { width, height }, query)
  }
  const padded = await app.inject(`/images/${id}?w=320&h=320&fit=contain&format=png`)
  const [, , , alpha] = await sharp(padded.rawPayload).ensureAlpha().raw().toBuffer()
  t.equal(alpha, 0, 'the padding is transparent')
})

t.test('format=auto follows the weights of Accept', async (t) => {
  const [photo, drawing] = [
    await upload(app, halves),
    await upload(app, await sharp(halves).png().toBuffer()),
  ]
  for (const [accept, type, id = photo] of [
    ['image/avif,image/webp,*/*', 'avif'],
    ['image/webp,image/png,*/*;q=0.8', 'webp'],
    ['image/avif;q=0.5,image/webp;q=0.9', 'webp'],
    ['image/avif;q=0,image/*', 'jpeg'],
    ['*/*', 'jpeg'],
    ['*/*', 'png', drawing],
    ['image/png', 'png'],
    ['image/jpeg;q=0.2, image/png;q=0.1', 'jpeg', drawing],
    ['', 'jpeg'],
  ] as const) {
    const got = await app.inject({ url: `/images/${id}?w=160`, headers: { accept } })
    t.equal(got.headers['content-type'], `image/${type}`, accept)
    t.equal(got.headers.vary, 'Accept')
  }
  const refused = await app.inject({ url: `/images/${photo}?w=160`, headers: { accept: 'text/html' } })
  t.equal(refused.statusCode, 406)
  const named = await app.inject(`/images/${photo}?w=160&format=jpeg`)
  t.notOk(named.headers.vary, 'a named format does not vary')
})

t.test('a variant has its own ETag, ranges, 304 and HEAD, and is made once', async (t) => {
  const app = await build(t)
  const id = await upload(app, halves)
  const url = `/images/${id}?w=160&format=jpeg`
  const all = await Promise.all(Array.from({ length: 20 }, () => app.inject(url)))
  t.equal(app.services.variants.counts.created, 1)
  const [first] = all
  t.ok(all.every(({ statusCode, rawPayload }) => statusCode === 200 && rawPayload.equals(first!.rawPayload)))
  const { etag } = first!.headers
  t.match(etag, /^"v-[0-9a-f]{32}"$/)
  t.not(etag, (await app.inject(`/images/${id}?w=320&format=jpeg`)).headers.etag)
  t.equal((await app.inject({ url, headers: { 'if-none-match': etag! } })).statusCode, 304)
  const head = await app.inject({ method: 'HEAD', url })
  t.match(head.headers, { etag, 'content-length': String(first!.rawPayload.length) })
  const part = await app.inject({ url, headers: { range: 'bytes=10-19', 'if-range': etag! } })
  t.equal(part.statusCode, 206)
  t.ok(part.rawPayload.equals(first!.rawPayload.subarray(10, 20)))
  t.match(first!.headers, { 'cache-control': /^public, max-age=600/, 'cache-tag': id })
  const [row] = await app.stores.data.sql`select hash from variants where spec like '%160x%'`
  t.equal(row!.hash, createHash('sha256').update(first!.rawPayload).digest('hex'))
})

t.test('other sizes need a signature, and create nothing without one', async (t) => {
  const app = await build(t, { VARIANT_KEY: KEY })
  const id = await upload(app, halves)
  const path = `/images/${id}`
  for (const query of [
    'w=161',
    'h=1',
    'w=160&h=161',
    'format=webp',
    'w=160&q=81',
    'w=160&q=5',
    'fit=cover',
  ]) {
    const refused = await app.inject(`${path}?${query}`)
    t.equal(refused.statusCode, 400, query)
    isProblem(t, refused, 400, 'invalid-variant')
    t.match(refused.json().detail, /sign the URL/)
  }
  for (const query of [
    'w=0160',
    'w=1e2',
    'w=160&w=160',
    'w=9000',
    'w=160&size=1',
    'dpr=4&w=160',
    'w=160&fit=fill',
  ])
    t.equal((await app.inject(`${path}?${query}`)).statusCode, 400, query)
  t.equal((await rowsOf(app)).length, 0)

  const parameters = { w: 161, h: 99, fit: 'cover', format: 'webp', q: 33 }
  const signature = sign(Buffer.from(KEY, 'hex'), path, parameters)
  const signed = `${path}?w=161&h=99&format=webp&fit=cover&q=33&signature=${signature}`
  const got = await app.inject(signed)
  t.equal(got.statusCode, 200)
  t.match(await sharp(got.rawPayload).metadata(), { width: 161, height: 99 })
  t.equal((await app.inject(signed.replace('w=161', 'w=162'))).statusCode, 400)
  t.equal((await app.inject(signed.replace(id, newId()))).statusCode, 400)
})

t.test('an image has at most 64 variants', async (t) => {
  const app = await build(t, { VARIANT_KEY: KEY })
  const id = await upload(app, await sharp(halves).resize(90).jpeg().toBuffer())
  const path = `/images/${id}`
  for (let w = 10; w < 80; w++) {
    const signature = sign(Buffer.from(KEY, 'hex'), path, { w, format: 'png' })
    const got = await app.inject(`${path}?w=${w}&format=png&signature=${signature}`)
    if (got.statusCode !== 200) t.fail(got.body)
  }
  t.equal((await rowsOf(app)).length, 64)
  t.equal((await keysOf(app)).length, 65, 'with the image')
})

t.test('variants are deleted with the image, and by the admin, and are made again', async (t) => {
  const app = await build(t)
  const id = await upload(app, halves)
  const url = `/images/${id}?w=160&format=jpeg`
  const get = () => app.inject(url)
  const first = await get()
  t.equal((await keysOf(app)).length, 2)
  const remove = (path: string) => app.inject({ method: 'DELETE', url: path, headers: admin })

  t.equal((await remove(`/admin/images/${id}/variants`)).statusCode, 204)
  t.equal((await keysOf(app)).length, 1)
  const again = await get()
  t.equal(again.statusCode, 200)
  t.equal(again.headers.etag, first.headers.etag, 'equal bytes have the same ETag')
  t.strictSame((await remove('/admin/variants')).json(), { removed: 1 })
  t.equal((await keysOf(app)).length, 1)

  t.equal((await get()).statusCode, 200)
  const [lost] = (await keysOf(app)).filter((key) => key !== id)
  await objectsOf(app).delete(lost!)
  app.cache.bytes.delete(lost!)
  t.equal((await get()).statusCode, 200, 'a variant whose object is lost is made again')

  t.equal((await remove(`/admin/images/${id}`)).statusCode, 204)
  t.equal((await get()).statusCode, 410)
  t.strictSame([await keysOf(app), (await rowsOf(app)).length], [[], 0])
})

t.test('a variant of a private image is private', async (t) => {
  const id = await upload(app, halves, { link: { sinceNow: 'PT1H', private: true } })
  const url = `/images/${id}?w=160&format=jpeg`
  t.equal((await app.inject(url)).statusCode, 404)
  const own = await app.inject({ url, headers: admin })
  t.equal(own.statusCode, 200)
  t.equal(own.headers['cache-control'], 'private, no-cache')
  t.equal((await app.inject(url)).statusCode, 404, 'also when it is made')
  const made = await app.inject({
    method: 'POST',
    url: `/admin/images/${id}/signed-url`,
    headers: admin,
    body: { expiresIn: 'PT1H', w: 123, format: 'jpeg', download: true },
  })
  const signed = await app.inject(made.json().relativePath)
  t.match(await sharp(signed.rawPayload).metadata(), { width: 123 })
  t.match(signed.headers['content-disposition'], /^attachment/)
})

t.test('with SERVE=verified, no variant is made before the verdict', async (t) => {
  const app = await build(t, { SERVE: 'verified' })
  const id = await upload(app, halves)
  t.equal((await app.inject(`/images/${id}?w=160`)).statusCode, 404)
  t.equal((await rowsOf(app)).length, 0)
})

t.test('a picture that cannot be shown gets 406 or 422 with the reason', async (t) => {
  const damaged = await upload(app, (await sharp(halves).png().toBuffer()).subarray(0, 60))
  const refused = await app.inject(`/images/${damaged}?w=160`)
  t.equal(refused.statusCode, 422)
  isProblem(t, refused, 422, 'image-not-decodable')
  t.ok(app.services.variants.counts.refused > 0)
})

t.test('an animation stays one as WebP, and is its first frame in other formats', async (t) => {
  const frames = await Promise.all(
    ['#f00', '#0f0', '#00f'].map((background) =>
      sharp({ create: { width: 300, height: 200, channels: 3, background } })
        .png()
        .toBuffer(),
    ),
  )
  const gif = await sharp(frames, { join: { animated: true } })
    .gif({ delay: [100, 200, 300] })
    .toBuffer()
  const id = await upload(app, gif)
  const moving = await sharp((await app.inject(`/images/${id}?w=160&format=webp`)).rawPayload).metadata()
  t.match(moving, { pages: 3, width: 160, delay: [100, 200, 300] })
  const still = await sharp((await app.inject(`/images/${id}?w=160&format=jpeg`)).rawPayload).metadata()
  t.match(still, { width: 160, height: 107, format: 'jpeg' })
})

t.test('?download names the file with the extension of the format that is sent', async (t) => {
  const app = await build(t)
  const name = 'Käse & Brot.JPG'
  const id = await upload(app, halves, { name })
  const dispositionOf = async (query: string) =>
    (await app.inject(`/images/${id}?${query}`)).headers['content-disposition']
  const original = String(await dispositionOf('download'))
  t.match(original, /^attachment; filename=/)
  t.ok(original.includes(`filename*=UTF-8''K%C3%A4se%20%26%20Brot.jpg`), original)
  t.ok(String(await dispositionOf('download&w=160&format=webp')).endsWith('Brot.webp'))
  t.match(await dispositionOf('download&metadata=none'), `attachment; filename=${id}.jpg`)
  t.equal((await app.inject(`/images/${id}?download=1`)).statusCode, 400)
  t.match(await dispositionOf('w=160&format=png'), `inline; filename="${id}.png"`)
})
