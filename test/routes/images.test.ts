import { createAnalysis } from '../../services/analysis/index.ts'
import { type App, admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { forward } from '../helpers/clock.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { until } from '../helpers/server.ts'

async function upload(app: App, body: Uint8Array) {
  const url = await makeLink(app)
  const answer = await app.inject({ method: 'POST', url, ...multipart([{ body }]) })
  return answer.json().processed[0] as { id: string; hash: string; size: number; status: string }
}

const log = { info() {}, error() {} }

eachDatabase(async (t, env) => {
  const app = await build(t, { INLINE_LIMIT: '1000B', ...env })
  const body = await makeImage('png')
  const { id, hash, size } = await upload(app, body)
  const get = (headers: Record<string, string> = {}) => app.inject({ url: `/images/${id}`, headers })
  const { receivedAt } = (await app.inject({ url: `/admin/images/${id}`, headers: admin })).json()

  await t.test('an image has the header fields that caches and browsers need', async (t) => {
    const answer = await get()
    t.match(answer.headers, {
      'content-type': 'image/png',
      'content-length': String(size),
      etag: `"${hash}"`,
      'cache-control': 'public, max-age=600, must-revalidate',
      'cache-tag': id,
      'surrogate-key': id,
      'content-disposition': `inline; filename="${id}.png"`,
      'last-modified': new Date(receivedAt).toUTCString(),
      'accept-ranges': 'bytes',
      'x-content-type-options': 'nosniff',
      'content-security-policy': /default-src 'none'.*sandbox/,
    })
    const head = await app.inject({ method: 'HEAD', url: `/images/${id}` })
    t.equal(head.statusCode, 200)
    t.equal(head.rawPayload.length, 0)
    const { date: _, connection: __, ...fields } = answer.headers
    t.match(head.headers, fields)
  })

  await t.test(
    'a client that has the image gets 304, also if it sends Cache-Control: no-cache',
    async (t) => {
      for (const tag of [
        `"${hash}"`,
        `W/"${hash}"`,
        `"other", "${hash}"`,
        `"a,b"\t,\t"${hash}"\t`,
        `,, "${hash}",`,
        '*',
      ]) {
        const answer = await get({ 'if-none-match': tag })
        t.equal(answer.statusCode, 304, tag)
        // fetch() adds it to each request with If-None-Match (RFC 9110 §13.2.2 does not mention it).
        t.equal((await get({ 'if-none-match': tag, 'cache-control': 'no-cache' })).statusCode, 304, tag)
        t.equal(answer.rawPayload.length, 0)
        t.equal(answer.headers.etag, `"${hash}"`)
        t.equal(
          (await app.inject({ method: 'HEAD', url: `/images/${id}`, headers: { 'if-none-match': tag } }))
            .statusCode,
          304,
        )
      }
      t.equal((await get({ 'if-none-match': '"other"' })).statusCode, 200)
      t.equal((await get({ 'if-none-match': hash })).statusCode, 200, 'an entity tag has quotes')
      for (const tag of ['"other"', `W/"${hash}"`, '""']) {
        const answer = await get({ 'if-match': tag })
        isProblem(t, answer, 412, 'precondition-failed', /ETag/, tag)
        t.equal(answer.headers['cache-control'], 'no-store')
      }
      for (const tag of [`"${hash}"`, '*', `"other", "${hash}"`, `"other"\t,\t"${hash}"`])
        t.equal((await get({ 'if-match': tag })).statusCode, 200)
    },
  )

  await t.test('dates are conditions according to RFC 9110', async (t) => {
    const modified = new Date(receivedAt).toUTCString()
    const before = new Date(Date.parse(modified) - 1000).toUTCString()
    const after = new Date(Date.parse(modified) + 86_400_000)
    const [, day, month, year, time] = /(\d\d) (\w+) (\d+) (\S+)/.exec(after.toUTCString())!
    const weekday = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'][
      after.getUTCDay()
    ]!
    for (const [date, status] of [
      [modified, 304],
      [after.toUTCString(), 304],
      [`${weekday}, ${day}-${month}-${year!.slice(2)} ${time} GMT`, 304],
      [`${weekday.slice(0, 3)} ${month} ${String(Number(day)).padStart(2)} ${time} ${year}`, 304],
      [before, 200],
      ['2099-01-01T00:00:00Z', 200], // not a date of HTTP
      ['Tue, 99 Jan 2099 00:00:00 GMT', 200],
      ['', 200],
    ] as const) {
      t.equal((await get({ 'if-modified-since': date })).statusCode, status, `If-Modified-Since: ${date}`)
    }
    t.equal(
      (await get({ 'if-modified-since': modified, 'if-none-match': '"other"' })).statusCode,
      200,
      'an entity tag has precedence',
    )
    isProblem(t, await get({ 'if-unmodified-since': before }), 412, 'precondition-failed')
    t.equal((await get({ 'if-unmodified-since': modified })).statusCode, 200)
    t.equal(
      (await get({ 'if-unmodified-since': before, 'if-match': '*' })).statusCode,
      200,
      'an entity tag has precedence',
    )
    t.equal((await get({ range: 'bytes=0-3', 'if-range': modified })).statusCode, 206)
    t.equal((await get({ range: 'bytes=0-3', 'if-range': after.toUTCString() })).statusCode, 200)
  })

  await t.test('a condition of 15 KB takes less than 5 ms', async (t) => {
    await get()
    for (const name of ['if-match', 'if-none-match', 'if-modified-since', 'if-range', 'range']) {
      for (const value of [`"a"${' '.repeat(15_000)}b`, ','.repeat(15_000), `bytes=${'1'.repeat(15_000)}-`]) {
        const { user: before } = process.cpuUsage()
        await get({ range: 'bytes=0-0', [name]: value })
        const milliseconds = (process.cpuUsage().user - before) / 1000
        t.ok(milliseconds < 100, `${name} took ${milliseconds} ms with the request`)
      }
    }
  })

  await t.test(
    'an unknown query parameter is refused, because it would be a new key for a cache',
    async (t) => {
      for (const query of [
        'a=1',
        'metadata=none&a=1',
        'metadata=none&metadata=none',
        '&',
        'metadata=none&',
        '%6d=1',
      ])
        isProblem(t, await app.inject(`/images/${id}?${query}`), 400, 'invalid-request', /./, `?${query}`)
    },
  )

  await t.test(
    'an id with an encoded character is not found: it would be a new key for a cache',
    async (t) => {
      const encoded = `%${id.charCodeAt(0).toString(16)}${id.slice(1)}`
      isProblem(t, await app.inject(`/images/${encoded}`), 404, 'image-not-found')
      t.equal((await app.inject({ method: 'HEAD', url: `/images/${encoded}` })).statusCode, 404)
    },
  )

  await t.test('an error has no header field of the image', async (t) => {
    const fields = [
      'etag',
      'last-modified',
      'content-disposition',
      'accept-ranges',
      'cache-tag',
      'surrogate-key',
    ]
    const lost = await upload(app, await makeImage())
    await objectsOf(app).delete(lost.id)
    await app.stores.data.sql`update images set due_at = null where id = ${lost.id}` // no worker looks for it
    for (const answer of [
      await app.inject(`/images/${lost.id}`),
      await app.inject(`/images/${lost.id}?metadata=none`),
      await get({ range: `bytes=${size}-` }),
      await get({ 'if-match': '"other"' }),
    ]) {
      t.ok(answer.statusCode >= 400, `${answer.statusCode}`)
      for (const field of fields) t.notOk(answer.headers[field], `${answer.statusCode} has no ${field}`)
    }
  })

  await t.test('a range is served according to RFC 9110, or ignored', async (t) => {
    for (const [range, start, end] of [
      ['bytes=0-0', 0, 0],
      ['bytes=5-9', 5, 9],
      [`bytes=${size - 1}-`, size - 1, size - 1],
      ['bytes=10-', 10, size - 1],
      ['bytes=-4', size - 4, size - 1],
      ['bytes=0-999999', 0, size - 1],
      ['bytes=-999999', 0, size - 1],
    ] as const) {
      const answer = await get({ range })
      t.equal(answer.statusCode, 206, range)
      t.equal(answer.headers['content-range'], `bytes ${start}-${end}/${size}`, range)
      t.equal(answer.headers['content-length'], String(end - start + 1), range)
      t.ok(body.subarray(start, end + 1).equals(answer.rawPayload), range)
    }
    for (const range of [
      'bytes=0-1,20-30',
      'bytes=0-4,3-9',
      'bytes=nonsense',
      'bytes=9-5',
      'lines=1-2',
      'bytes',
      '',
    ]) {
      const answer = await get({ range })
      t.equal(answer.statusCode, 200, `"${range}" may be ignored`)
      t.ok(body.equals(answer.rawPayload))
    }
    for (const range of [`bytes=${size}-`, 'bytes=999999-', 'bytes=-0']) {
      const answer = await get({ range })
      isProblem(t, answer, 416, 'range-not-satisfiable')
      t.equal(answer.headers['content-range'], `bytes */${size}`)
      t.equal(answer.headers['cache-control'], 'no-store')
    }
    t.equal((await get({ range: 'bytes=0-3', 'if-range': `"${hash}"` })).statusCode, 206)
    t.equal((await get({ range: 'bytes=0-3', 'if-range': '"other"' })).statusCode, 200)
    t.equal((await get({ range: 'bytes=0-3', 'if-range': 'Tue, 24 Nov 2026 00:00:00 GMT' })).statusCode, 200)
    t.equal((await get({ range: 'bytes=0-3', 'if-none-match': `"${hash}"` })).statusCode, 304)
  })

  await t.test('a path that has no id is not found', async (t) => {
    for (const path of [
      'x'.repeat(48),
      'x',
      'a/b',
      '%2e%2e',
      '..%2f..%2fetc%2fpasswd',
      '%00',
      'x'.repeat(10_000),
      'a%2Fb',
    ]) {
      const answer = await app.inject(`/images/${path}`)
      t.equal(answer.statusCode, 404, path.slice(0, 30))
      t.match(answer.json().type, /^urn:hasty:problem:(image-)?not-found$/)
    }
    isProblem(t, await app.inject('/images/%zz'), 400, 'invalid-request', /^(?!.*%zz)/)
    isProblem(t, await app.inject(`/images/${'x'.repeat(10_000)}`), 404, 'image-not-found')
    isProblem(t, await app.inject({ url: '/admin/images/x', headers: admin }), 404, 'image-not-found')
    isProblem(
      t,
      await app.inject({ method: 'DELETE', url: '/admin/images/x', headers: admin }),
      404,
      'image-not-found',
    )
  })

  await t.test('a removed image is gone, and the same content becomes a new image', async (t) => {
    const bytes = await makeImage()
    const first = await upload(app, bytes)
    t.equal((await app.inject(`/images/${first.id}`)).statusCode, 200)
    const remove = () => app.inject({ method: 'DELETE', url: `/admin/images/${first.id}`, headers: admin })
    t.equal((await remove()).statusCode, 204)
    isProblem(t, await app.inject(`/images/${first.id}`), 410, 'image-gone')
    isProblem(t, await remove(), 410, 'image-gone')
    await t.rejects(objectsOf(app).size(first.id), { name: 'ObjectNotFound' })
    t.match((await app.inject({ url: `/admin/images/${first.id}`, headers: admin })).json(), {
      status: 'removed',
    })
    const second = await upload(app, bytes)
    t.not(second.id, first.id)
    t.equal((await app.inject(`/images/${second.id}`)).statusCode, 200)
  })

  await t.test('a large image is pending, is served, and is analysed by a worker', async (t) => {
    const large = await makeImage('jpeg', { width: 60, height: 50, model: 'Box 2' })
    const pending = await upload(app, large)
    // Too large for the sniffer to see all of it.
    const fake = await upload(app, Buffer.concat([body.subarray(0, 20), Buffer.alloc(300_000)]))
    t.match([pending, fake], [{ status: 'pending' }, { status: 'pending' }])
    t.equal((await app.inject(`/images/${pending.id}`)).statusCode, 200)
    const day = async () =>
      (await app.inject({ url: '/admin/stats', headers: admin })).json().uploadFrequency30Days[0].uploads
    const before = await day()

    const stop = new AbortController()
    const running = createAnalysis({ stores: app.stores, log, concurrency: 1 }).run(stop.signal)
    const show = async (id: string) =>
      (await app.inject({ url: `/admin/images/${id}`, headers: admin })).json()
    await until(async () => ((await app.stores.queue.waiting()) === 0 ? true : undefined))
    stop.abort()
    await running

    t.match(await show(pending.id), {
      status: 'ready',
      format: 'JPEG',
      mediaType: 'image/jpeg',
      width: 60,
      height: 50,
      cameraMake: 'Acme',
      cameraModel: 'Box 2',
    })
    t.match(await show(fake.id), { status: 'rejected', failure: /no readable header/ })
    await t.rejects(objectsOf(app).size(fake.id), { name: 'ObjectNotFound' })
    forward(t, 4_100) // until the cache drops it
    isProblem(t, await app.inject(`/images/${fake.id}`), 410, 'image-gone')
    t.equal(await day(), before - 1, 'a file that is not an image does not count as an upload')
  })

  await t.test('images are listed newest first, by status, format and camera', async (t) => {
    const list = async (query: string) =>
      (await app.inject({ url: `/admin/images?${query}`, headers: admin })).json()
    const { items } = await list('limit=500')
    t.ok(items.length > 4)
    t.strictSame(
      items.map(({ receivedAt }: { receivedAt: string }) => receivedAt),
      items
        .map(({ receivedAt }: { receivedAt: string }) => receivedAt)
        .sort()
        .reverse(),
    )
    t.match(await list('cameraModel=Box%202'), { items: [{ cameraModel: 'Box 2' }] })
    t.match(await list('status=removed'), { items: [{ status: 'removed' }] })
    t.match(await list('status=removed&removed=false'), { items: [] })
    t.equal((await list('format=WebP')).items.length, 0)
    const answer = await app.inject({ url: '/admin/images?status=lost', headers: admin })
    isProblem(t, answer, 400, 'invalid-request', /querystring\.status/)
    for (const query of [
      'format=%00',
      'cameraModel=a%00b',
      `format=${'x'.repeat(21)}`,
      'format=a&format=b',
    ]) {
      const answer = await app.inject({ url: `/admin/images?${query}`, headers: admin })
      isProblem(t, answer, 400, 'invalid-request', /querystring\.(format|cameraModel)/, query)
    }
  })
})
