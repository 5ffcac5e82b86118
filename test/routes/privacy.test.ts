import { createHash } from 'node:crypto'
import sharp from 'sharp'
import t from 'tap'
import { type App, admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { READ_TAGS, TAGS, tiff, withExif } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'

const picture = sharp({ create: { width: 90, height: 60, channels: 3, background: '#7f3f1f' } })
// Turned, and taken somewhere.
const photo = withExif(await picture.clone().jpeg().toBuffer(), Buffer.from(tiff(TAGS)))

/** The service with its defaults. Tests of other settings build their own. */
const app = await build(t)

async function upload(app: App, body: Buffer): Promise<string> {
  const answer = await app.inject({ method: 'POST', url: await makeLink(app), ...multipart([{ body }]) })
  return answer.json().processed[0].id
}

t.test('an image is served without its metadata on request', async (t) => {
  const id = await upload(app, photo)
  const url = `/images/${id}?metadata=none`
  const hash = createHash('sha256').update(photo).digest('hex')

  const original = await app.inject(`/images/${id}`)
  t.ok(photo.equals(original.rawPayload))
  t.equal(original.headers.etag, `"${hash}"`)

  const bare = await app.inject(url)
  const bytes = bare.rawPayload
  t.equal(bare.statusCode, 200)
  t.equal(bare.headers['content-type'], 'image/jpeg')
  t.equal(bare.headers['content-length'], String(bytes.length))
  t.notOk(bytes.includes('Contoso'), 'no camera')
  const { exif, orientation } = await sharp(bytes).metadata()
  t.equal(orientation, 6, 'its orientation is kept')
  t.ok(exif!.length < 40, 'and nothing else of Exif')
  t.ok((await sharp(bytes).raw().toBuffer()).equals(await sharp(photo).raw().toBuffer()), 'as are its pixels')

  const { etag } = bare.headers
  t.match(etag, /^"[0-9A-Za-z]{48}-stripped-\d+"$/)
  t.notOk(JSON.stringify(bare.headers).includes(hash.slice(0, 8)), 'nothing of it reveals the original')
  t.equal((await app.inject({ url, headers: { 'if-none-match': etag! } })).statusCode, 304)
  t.equal((await app.inject({ url, headers: { 'if-none-match': `"${hash}"` } })).statusCode, 200)
  const head = await app.inject({ method: 'HEAD', url })
  t.equal(head.statusCode, 200)
  t.equal(head.headers['content-length'], String(bytes.length))
  t.equal(head.headers.etag, etag)
  t.notMatch(bare.headers['cache-control'], /immutable/)

  for (const [start, end] of [
    [0, 0],
    [10, 60],
    [bytes.length - 5, bytes.length - 1],
  ] as const) {
    const part = await app.inject({ url, headers: { range: `bytes=${start}-${end}`, 'if-range': etag! } })
    t.equal(part.statusCode, 206)
    t.equal(part.headers['content-range'], `bytes ${start}-${end}/${bytes.length}`)
    t.ok(part.rawPayload.equals(bytes.subarray(start, end + 1)))
  }
  const beyond = await app.inject({ url, headers: { range: `bytes=${bytes.length}-` } })
  t.equal(beyond.statusCode, 416)
  t.equal(beyond.headers['content-range'], `bytes */${bytes.length}`)
  const shown = (await app.inject({ url: `/admin/images/${id}`, headers: admin })).json()
  t.match(shown, READ_TAGS, 'the admin sees all')

  const wrong = await app.inject(`/images/${id}?metadata=some`)
  t.equal(wrong.statusCode, 400)
  t.match(wrong.json().detail, /metadata/)

  await app.inject({ method: 'DELETE', url: `/admin/images/${id}`, headers: admin })
  t.equal((await app.inject(url)).statusCode, 410)
})

t.test('an image whose metadata cannot be removed is not served without it', async (t) => {
  const gif = await upload(app, await picture.clone().gif().toBuffer())
  const answer = await app.inject(`/images/${gif}?metadata=none`)
  t.equal(answer.statusCode, 406)
  t.match(answer.headers['content-type'], 'application/problem+json')
  t.match(answer.json(), {
    type: 'urn:hasty:problem:metadata-not-removable',
    detail: /image\/gif/,
  })
  t.equal((await app.inject(`/images/${gif}`)).statusCode, 200)

  const cut = await upload(app, photo.subarray(0, photo.length - 20))
  const stripped = await app.inject(`/images/${cut}?metadata=none`)
  t.equal(stripped.statusCode, 200, 'a JPEG without its end is a picture')
  t.notOk(stripped.rawPayload.includes('Contoso'))
})

t.test('PUBLIC_METADATA=none applies to every request', async (t) => {
  const app = await build(t, { PUBLIC_METADATA: 'none' })
  const id = await upload(app, photo)
  for (const url of [`/images/${id}`, `/images/${id}?metadata=none`]) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200)
    t.notOk(answer.rawPayload.includes('Contoso'))
  }
  t.equal((await app.inject(`/images/${id}?metadata=all`)).statusCode, 400)
  const svg = await upload(app, Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="2"/>'))
  t.equal((await app.inject(`/images/${svg}`)).statusCode, 406)
})

t.test('equal requests at the same time get equal responses', async (t) => {
  const id = await upload(app, photo)
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => app.inject(`/images/${id}?metadata=none`)),
  )
  t.equal(new Set(answers.map(({ rawPayload }) => rawPayload.toString('hex'))).size, 1)
})

t.test('a revalidation reads no byte of the image, and its plan is made once', async (t) => {
  const id = await upload(app, Buffer.concat([photo, Buffer.from('another content')]))
  const url = `/images/${id}?metadata=none`
  const before = { ...app.cache.plans.count }
  const { etag } = (await app.inject({ method: 'HEAD', url })).headers
  await app.inject({ method: 'HEAD', url })
  t.match(app.cache.plans.count, { hits: before.hits + 1, misses: before.misses + 1 })

  app.cache.plans.delete(id)
  await objectsOf(app).delete(id)
  const answer = await app.inject({ url, headers: { 'if-none-match': etag! } })
  t.equal(answer.statusCode, 304, 'without a plan, and without the object')
})

t.test('an SVG is sent as an attachment, so that it is never a page of this origin', async (t) => {
  const id = await upload(app, Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="2"/>'))
  for (const url of [`/images/${id}`, `/admin/images/${id}/content`]) {
    const answer = await app.inject({ url, headers: admin })
    t.equal(answer.headers['content-disposition'], `attachment; filename="${id}.svg"`)
  }
})

t.test('CACHE_MAX_AGE is the time for which a cache may serve an image', async (t) => {
  for (const [CACHE_MAX_AGE, original, stripped] of [
    ['PT1H', 'public, max-age=3600, must-revalidate', 'public, max-age=3600, must-revalidate'],
    ['PT0S', 'public, max-age=0, must-revalidate', 'public, max-age=0, must-revalidate'],
    ['immutable', 'public, max-age=31536000, immutable', 'public, max-age=86400'],
  ] as const) {
    await t.test(CACHE_MAX_AGE, async (t) => {
      const app = await build(t, { CACHE_MAX_AGE })
      const id = await upload(app, photo)
      for (const [query, expected] of [
        ['', original],
        ['?metadata=none', stripped],
      ]) {
        const answer = await app.inject(`/images/${id}${query}`)
        t.equal(answer.headers['cache-control'], expected, `with the query ${query}`)
        const { headers } = await app.inject({
          url: `/images/${id}${query}`,
          headers: { 'if-none-match': answer.headers.etag! },
        })
        t.equal(headers['cache-control'], expected, 'a 304 has it too')
      }
    })
  }
})

t.test('no cache stores responses to the admin', async (t) => {
  const id = await upload(app, photo)
  for (const path of ['images', `images/${id}`, `images/${id}/content`, 'ephemeral-links', 'stats'])
    t.equal(
      (await app.inject({ url: `/admin/${path}`, headers: admin })).headers['cache-control'],
      'no-store',
      path,
    )
})
