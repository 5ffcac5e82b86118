import { randomBytes } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { TooManyUploads } from '../../services/errors.ts'
import { type App, admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { until } from '../helpers/server.ts'

const png = await makeImage()
const image = (bytes = 16) => Buffer.concat([png, randomBytes(bytes)])
const idOf = (link: string) => link.split('/').at(-1)!

/** Begins an upload whose parts are sent one by one. */
function startUpload(app: App, url: string, remoteAddress = '127.0.0.1') {
  const payload = new PassThrough()
  const response = app.inject({
    method: 'POST',
    url,
    remoteAddress,
    headers: { 'content-type': 'multipart/form-data; boundary=XbX' },
    payload,
  })
  return {
    sendPart(name: string, bytes: Buffer) {
      payload.write(`\r\n--XbX\r\nContent-Disposition: form-data; name="image"; filename="${name}"\r\n\r\n`)
      payload.write(bytes)
    },
    end() {
      payload.end('\r\n--XbX--\r\n')
      return response
    },
  }
}

async function staged(app: App) {
  const objects = await Array.fromAsync(objectsOf(app).list())
  const incoming = objects.filter(({ key }) => key.startsWith('incoming/'))
  return { files: incoming.length, bytes: incoming.reduce((sum, { size }) => sum + size, 0) }
}

/** Waits until that many parts are being staged. */
const untilStaged = (app: App, files: number) =>
  until(async () => ((await staged(app)).files === files ? true : undefined))

t.test('the bytes that a link no longer accepts are not staged', async (t) => {
  const app = await build(t)
  const link = await makeLink(app, { sinceNow: 'PT1H', maxBytes: 1000 })
  const uploads = Array.from({ length: 6 }, () => startUpload(app, link))
  for (const upload of uploads) upload.sendPart('large', image(300_000))
  const { rejected } = app.services.uploads.counts.multipart
  await until(async () => (rejected.get('link_used_up') === 6 ? true : undefined))
  t.match(await staged(app), { files: 0, bytes: 0 }, 'while the six connections are still open')
  for (const upload of uploads) {
    const response = await upload.end()
    isProblem(t, response, 410, 'link-used-up')
    t.match(response.json().rejected, [{ name: 'large', reason: 'link_used_up' }])
  }
  t.equal(
    (await app.inject({ method: 'POST', url: link, ...multipart([{ body: image() }]) })).statusCode,
    200,
  )
})

t.test('UPLOADS_PER_LINK and UPLOADS_PER_ADDRESS limit concurrent uploads', async (t) => {
  const app = await build(t, { UPLOADS_PER_LINK: '2', UPLOADS_PER_ADDRESS: '3' })
  const [first, second, third] = [await makeLink(app), await makeLink(app), await makeLink(app)]
  const post = (url: string, remoteAddress: string) =>
    app.inject({ method: 'POST', url, remoteAddress, ...multipart([{ body: image() }]) })
  const one = '192.0.2.1'
  const hanging = [first, first, second].map((link) => startUpload(app, link, one))
  for (const upload of hanging) upload.sendPart('hanging', image())
  await untilStaged(app, 3)

  const byLink = await post(first, '192.0.2.2')
  isProblem(t, byLink, 429, 'too-many-uploads')
  t.match(byLink.headers, { 'retry-after': /^\d+$/ })
  isProblem(
    t,
    await post(third, one),
    429,
    'too-many-uploads',
    /./,
    'from another link, but the same address',
  )
  t.equal((await post(second, '192.0.2.2')).statusCode, 200, 'others are not affected')

  for (const upload of hanging) t.equal((await upload.end()).statusCode, 200)
  t.equal((await post(first, one)).statusCode, 200, 'a finished upload no longer counts')
})

t.test('a refusal has the usual response, and one per second has its own line in the log', async (t) => {
  const lines: { msg: string; statusCode?: number; refused?: number }[] = []
  const env = { LOG_LEVEL: 'info', UPLOADS_PER_LINK: '1', CORS_ORIGIN: 'https://app.example' }
  const app = await build(t, env, {}, lines)
  const link = await makeLink(app)
  const hanging = startUpload(app, link)
  hanging.sendPart('hanging', image())
  await untilStaged(app, 1)
  const post = (fields: object = {}) => {
    const { payload, headers } = multipart([{ body: image() }])
    const origin = 'https://app.example'
    return app.inject({ method: 'POST', url: link, payload, headers: { ...headers, origin, ...fields } })
  }
  const refused = await post({ 'x-request-id': 'mine' })
  isProblem(t, refused, 429, 'too-many-uploads')
  t.equal(refused.json().requestId, 'mine')
  const unknown = await app.inject({ url: '/uploads/unknown', headers: { origin: 'https://app.example' } })
  const { 'retry-after': retryAfter, ...fields } = refused.headers
  t.match(retryAfter, /^\d+$/)
  const names = (headers: object) => Object.keys(headers).filter((name) => !/^(date|connection)$/.test(name))
  t.same(names(fields).sort(), names(unknown.headers).sort())
  const page = await post({ accept: 'text/html' })
  t.equal(page.statusCode, 429)
  t.match(page.headers['content-type'], /^text\/html/)
  for (let n = 0; n < 3; n++) t.equal((await post()).statusCode, 429)
  t.equal(lines.filter(({ statusCode }) => statusCode === 429).length, 1)
  t.match(await until(async () => lines.find(({ msg }) => msg.startsWith('more requests'))), { refused: 4 })
  t.equal(app.problemCounts.get('TooManyUploads'), 5)
  const tus = { 'tus-resumable': '1.0.0', 'upload-length': '5', origin: 'https://app.example' }
  const begin = () => app.inject({ method: 'POST', url: `${link}/files`, headers: tus })
  const [short, shortBegin] = [await post(), await begin()]
  // The error takes the way of all errors.
  const { refusalOf } = app.services.uploads
  app.services.uploads.refusalOf = () => {
    throw new TooManyUploads()
  }
  const [usual, usualBegin] = [await post(), await begin()]
  app.services.uploads.refusalOf = refusalOf
  for (const [one, two] of [
    [short, usual],
    [shortBegin, usualBegin],
  ] as const) {
    const comparable = ({ headers, body, statusCode }: typeof one) => {
      const { date, connection, 'x-request-id': id, 'content-length': length, ...rest } = headers
      t.equal(length, String(Buffer.byteLength(body)))
      return { statusCode, rest, ...JSON.parse(body), requestId: JSON.parse(body).requestId === id }
    }
    t.strictSame(comparable(one), comparable(two), 'each field is that of the usual response')
  }
  t.equal(shortBegin.headers['tus-resumable'], '1.0.0')
  t.equal((await hanging.end()).statusCode, 200)
})

t.test('STAGED_LIMIT limits the bytes of unfinished uploads, half of it by one link', async (t) => {
  const app = await build(t, { MAX_FILE_SIZE: '100KiB', STAGED_LIMIT: '200KiB' })
  const [first, second, third] = [await makeLink(app), await makeLink(app), await makeLink(app)]
  const hang = async (link: string) => {
    const upload = startUpload(app, link)
    const { bytes } = await staged(app)
    upload.sendPart('hanging', image(80_000))
    await until(async () => ((await staged(app)).bytes > bytes ? true : undefined))
    return upload
  }
  const post = (url: string) =>
    app.inject({ method: 'POST', url, ...multipart([{ body: image(80_000), filename: 'more' }]) })

  const hanging = [await hang(first)]
  const byLink = await post(first)
  isProblem(t, byLink, 503, 'busy')
  t.match(byLink.headers, { 'retry-after': /^\d+$/ })
  t.match(byLink.json().rejected, [{ name: 'more', reason: 'busy' }])

  hanging.push(await hang(second))
  isProblem(t, await post(third), 503, 'busy', /./, 'the limit of the process')
  for (const upload of hanging) t.equal((await upload.end()).statusCode, 200, 'the first uploads go on')
  t.equal((await post(third)).statusCode, 200, 'and their bytes no longer count')
  t.equal((await staged(app)).bytes, 0)
})

t.test('a link that is revoked during an upload accepts no further part of it', async (t) => {
  const app = await build(t)
  for (const by of ['this process', 'another process']) {
    const link = await makeLink(app)
    const upload = startUpload(app, link)
    upload.sendPart('before', image())
    upload.sendPart('during', image())
    await until(async () => {
      const url = `/admin/ephemeral-links/${idOf(link)}`
      return (await app.inject({ url, headers: admin })).json().uploads === 1 ? true : undefined
    })
    await untilStaged(app, 1)
    if (by === 'this process') {
      await app.inject({ method: 'DELETE', url: `/admin/ephemeral-links/${idOf(link)}`, headers: admin })
    } else await app.stores.data.links.revoke(idOf(link))
    upload.sendPart('after', image())
    const response = (await upload.end()).json()
    t.match(response.processed, [{ name: 'before' }], by)
    t.strictSame(
      response.rejected,
      ['during', 'after'].map((name) => ({ name, reason: 'link_revoked' })),
      by,
    )
  }
  t.equal((await Array.fromAsync(objectsOf(app).list())).length, 2, 'and keeps no object of it')
})

t.test(
  'a change of a link applies to a current upload: the first limit at once, others from the next part',
  async (t) => {
    const app = await build(t)
    const change = (link: string, body: object) =>
      app.inject({ method: 'PATCH', url: `/admin/ephemeral-links/${idOf(link)}`, headers: admin, body })
    for (const [changed, duringIs, afterIs] of [
      [{ maxImages: 1 }, 'link_used_up', 'link_used_up'],
      [{ maxImages: 2 }, undefined, 'link_used_up'],
      [{ maxBytes: 1_000 }, 'link_used_up', 'link_used_up'],
      [{ maxFileSize: 20 }, undefined, 'too_large'],
      [{ accept: ['image/jpeg'] }, undefined, 'not_accepted'],
    ] as const) {
      const link = await makeLink(app)
      const upload = startUpload(app, link)
      upload.sendPart('before', image(900))
      upload.sendPart('during', image(900))
      await until(async () => {
        const url = `/admin/ephemeral-links/${idOf(link)}`
        return (await app.inject({ url, headers: admin })).json().uploads === 1 ? true : undefined
      })
      await untilStaged(app, 1)
      t.equal((await change(link, changed)).statusCode, 200)
      upload.sendPart('after', image(900))
      const { processed, rejected } = (await upload.end()).json()
      const expected = { during: duringIs, after: afterIs }
      const reasons = Object.fromEntries(
        rejected.map(({ name, reason }: Record<string, string>) => [name, reason]),
      )
      t.strictSame({ during: reasons.during, after: reasons.after }, expected, JSON.stringify(changed))
      t.equal(processed.length + rejected.length, 3)
    }
  },
)

t.test('a part that began before the link expired is accepted, the next one is not', async (t) => {
  const app = await build(t)
  const link = await makeLink(app)
  const upload = startUpload(app, link)
  upload.sendPart('before', png)
  await untilStaged(app, 1)
  await sleep(2)
  await app.stores.data.sql`update links set expires_at = ${new Date()} where id = ${idOf(link)}`
  await sleep(2)
  upload.sendPart('after', image())
  const response = (await upload.end()).json()
  t.match(response.processed, [{ name: 'before' }])
  t.strictSame(response.rejected, [{ name: 'after', reason: 'link_expired' }])
})
