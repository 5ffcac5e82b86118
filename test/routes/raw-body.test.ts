import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { until } from '../helpers/server.ts'

const digestOf = (bytes: Uint8Array) => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`

t.test('one image as the body', async (t) => {
  const app = await build(t, { MAX_FILE_SIZE: '20000B' })
  const link = await makeLink(app)
  const png = await makeImage('png')
  const send = (payload: Buffer, headers: Record<string, string> = {}, query = '') =>
    app.inject({
      method: 'POST',
      url: link + query,
      headers: { 'content-type': 'image/png', ...headers },
      payload,
    })

  await t.test('gets the response of a multipart upload with one part', async (t) => {
    const image = await makeImage('jpeg')
    const form = await app.inject({
      method: 'POST',
      url: link,
      ...multipart([{ body: image, filename: 'a.jpg' }]),
    })
    const raw = await send(image, { 'content-type': 'application/octet-stream' }, '?name=a.jpg')
    t.equal(raw.statusCode, 200)
    const [expected] = form.json().processed
    t.strictSame(raw.json(), { processed: [{ ...expected, duplicate: true }], rejected: [] })
  })

  await t.test('has the name of Content-Disposition, or else of the query, or else none', async (t) => {
    const disposition = { 'content-disposition': `attachment; filename*=UTF-8''%e2%82%ac.png` }
    for (const [headers, query, name] of [
      [disposition, '?name=b.png', '€.png'],
      [{}, '?name=%E2%82%AC%20b.png', '€ b.png'],
      [{ 'content-disposition': 'attachment' }, '?name=b.png', 'b.png'],
      [{}, '', ''],
    ] as const) {
      t.equal((await send(png, headers, query)).json().processed[0].name, name)
    }
  })

  await t.test('may have any media type of an image, with parameters', async (t) => {
    for (const type of ['image/jpeg', 'IMAGE/X-unknown', 'image/heic; q=1', 'Application/Octet-Stream']) {
      const answer = await send(png, { 'content-type': type })
      t.equal(answer.json().processed?.[0]?.metadata.mediaType, 'image/png', type)
    }
    for (const type of ['text/plain', 'application/json', 'x-image/png'])
      isProblem(t, await send(png, { 'content-type': type }), 415, 'not-multipart')
  })

  await t.test('is rejected for the reasons for which a part is rejected', async (t) => {
    const reasonOf = async (answer: Awaited<ReturnType<typeof send>>, status: number, problem: string) => {
      isProblem(t, answer, status, problem)
      return answer.json().rejected?.[0]?.reason
    }
    t.equal(await reasonOf(await send(Buffer.from('hello')), 415, 'no-image'), 'not_an_image')
    t.equal(await reasonOf(await send(Buffer.alloc(0)), 415, 'no-image'), 'empty')
    const large = Buffer.concat([png, randomBytes(20_000)])
    t.equal(await reasonOf(await send(large), 413, 'too-large'), 'too_large')
    const wrong = { 'repr-digest': digestOf(Buffer.from('other')) }
    t.equal(await reasonOf(await send(png, wrong), 400, 'digest-mismatch'), 'digest_mismatch')
    isProblem(t, await send(png, { 'content-digest': 'sha-256=x' }), 400, 'invalid-request')
    t.equal((await send(png, { 'content-digest': digestOf(png) })).statusCode, 200)
  })

  await t.test('is not accepted by a link that is closed', async (t) => {
    const used = await makeLink(app, { sinceNow: 'PT1H', maxImages: 1 })
    const post = () =>
      app.inject({ method: 'POST', url: used, headers: { 'content-type': 'image/png' }, payload: png })
    t.equal((await post()).statusCode, 200)
    isProblem(t, await post(), 410, 'link-used-up')
    const url = `/admin/ephemeral-links/${link.split('/').at(-1)}`
    await app.inject({ method: 'DELETE', url, headers: admin })
    isProblem(t, await send(png), 410, 'link-revoked')
  })
})

t.test('a body whose connection is lost is not recorded and leaves nothing', async (t) => {
  const app = await build(t)
  await app.listen({ port: 0 })
  const { port } = app.server.address() as AddressInfo
  const link = await makeLink(app)
  const image = Buffer.concat([await makeImage(), randomBytes(1_000_000)])
  const sending = request({
    port,
    path: link,
    method: 'POST',
    headers: { 'content-type': 'image/png', 'content-length': image.length },
  })
  sending.on('error', () => {})
  sending.write(image.subarray(0, 500_000))
  const keys = async () => (await Array.fromAsync(objectsOf(app).list())).map(({ key }) => key)
  await until(async () => ((await keys()).length === 1 ? true : undefined))
  sending.destroy()
  const { rejected } = app.services.uploads.counts.raw
  await until(async () => (rejected.get('incomplete') === 1 ? true : undefined))
  t.strictSame(await keys(), [])
})
