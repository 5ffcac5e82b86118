import { createHash } from 'node:crypto'
import sharp from 'sharp'
import t from 'tap'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { READ_TAGS, TAGS, tiff, withExif } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'

const picture = sharp({ create: { width: 90, height: 60, channels: 3, background: '#7f3f1f' } })
// Turned, and taken somewhere.
const photo = withExif(await picture.clone().jpeg().toBuffer(), Buffer.from(tiff(TAGS)))

async function upload(app: App, body: Buffer): Promise<string> {
  const answer = await app.inject({ method: 'POST', url: await makeLink(app), ...multipart([{ body }]) })
  return answer.json().processed[0].id
}

t.test('an image is served without its metadata where that is asked for', async (t) => {
  const app = await build(t)
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
  t.match(etag, /^"[0-9a-f]{64}-without-metadata-\d+"$/)
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

t.test('what metadata can not be taken out of is not served without it', async (t) => {
  const app = await build(t)
  const gif = await upload(app, await picture.clone().gif().toBuffer())
  const answer = await app.inject(`/images/${gif}?metadata=none`)
  t.equal(answer.statusCode, 406)
  t.match(answer.headers['content-type'], 'application/problem+json')
  t.match(answer.json(), {
    type: 'urn:hasty:problem:metadata-not-removable',
    detail: /image\/gif has to be encoded anew/,
  })
  t.equal((await app.inject(`/images/${gif}`)).statusCode, 200)

  const cut = await upload(app, photo.subarray(0, photo.length - 20))
  const damaged = await app.inject(`/images/${cut}?metadata=none`)
  t.match([damaged.statusCode, damaged.json().detail], [406, /it is cut off/])
  t.equal((await app.inject({ method: 'HEAD', url: `/images/${cut}?metadata=none` })).statusCode, 406)
})

t.test('PUBLIC_METADATA=none holds for all', async (t) => {
  const app = await build(t, { PUBLIC_METADATA: 'none' })
  const id = await upload(app, photo)
  for (const url of [`/images/${id}`, `/images/${id}?metadata=none`, `/images/${id}?other=1`]) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200)
    t.notOk(answer.rawPayload.includes('Contoso'))
  }
  t.equal((await app.inject(`/images/${id}?metadata=all`)).statusCode, 400)
  const svg = await upload(app, Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="2"/>'))
  t.equal((await app.inject(`/images/${svg}`)).statusCode, 406)
})

t.test('equal requests at once are served alike', async (t) => {
  const app = await build(t)
  const id = await upload(app, photo)
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => app.inject(`/images/${id}?metadata=none`)),
  )
  t.equal(new Set(answers.map(({ rawPayload }) => rawPayload.toString('hex'))).size, 1)
})
