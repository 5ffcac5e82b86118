import { setTimeout as sleep } from 'node:timers/promises'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { forward, forwardDate } from '../helpers/clock.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

const create = (
  app: App,
  payload: string | object,
  headers: object = { 'content-type': 'application/json' },
) => app.inject({ method: 'POST', url: '/admin/ephemeral-links', headers: { ...admin, ...headers }, payload })

const inMs = (milliseconds: number) => new Date(Date.now() + milliseconds).toISOString()

eachDatabase(async (t, env) => {
  // All apps of one database have one store of objects.
  const shared = { ...env, OBJECT_STORE_URL: `file://${newFolder(t)}/objects` }
  const app = await build(t, shared)

  await t.test('a link is created with a duration or a time', async (t) => {
    const answer = await create(app, {
      sinceNow: 'PT1H',
      label: 'Wedding',
      maxImages: 3,
      maxBytes: 1_000_000,
    })
    t.equal(answer.statusCode, 201)
    const { relativePath, expiresOn } = answer.json()
    t.match(relativePath, /^\/uploads\/[0-9A-Za-z]{48}$/)
    t.ok(Math.abs(Date.parse(expiresOn) - Date.now() - 3_600_000) < 5_000)
    const location = String(answer.headers.location)
    t.match((await app.inject({ url: location, headers: admin })).json(), {
      id: relativePath.slice('/uploads/'.length),
      label: 'Wedding',
      status: 'open',
      maxImages: 3,
      maxBytes: 1_000_000,
      uploads: 0,
      bytes: 0,
      expiresOn,
      received: { items: [] },
    })

    const exact = await create(app, { timeExact: '2999-12-01T00:00:00+01:00' })
    t.equal(exact.json().expiresOn, '2999-11-30T23:00:00.000Z')
    t.equal((await create(app, { sinceNow: 'soon', timeExact: '2999-12-01T00:00:00Z' })).statusCode, 201)
    const both = await create(app, { sinceNow: 'PT2H', timeExact: 'then' })
    t.ok(Math.abs(Date.parse(both.json().expiresOn) - Date.now() - 7_200_000) < 5_000)
  })

  await t.test('an invalid link is refused with an instruction', async (t) => {
    for (const [body, problem, detail] of [
      ['{"sinceNow":', 'invalid-request', /JSON/],
      ['nonsense', 'invalid-request', /JSON/],
      ['[]', 'invalid-request', /body must be object/],
      ['"PT1H"', 'invalid-request', /body must be object/],
      ['null', 'invalid-request', /body must be object/],
      ['{}', 'invalid-expiry', /sinceNow.*timeExact/],
      ['{"sinceNow":"PT1H","colour":"red"}', 'invalid-request', /^body has the unknown field colour\. /],
      [
        '{"sinceNow":"PT1H","askSender":true}',
        'invalid-request',
        /^body.askSender must be one of: no, optional, required\. /,
      ],
      ['{"sinceNow":"PT1H","__proto__":{}}', 'invalid-request', /JSON/],
      ['{"sinceNow":"PT1H","label":"a\\u0000b"}', 'invalid-request', /body\.label/],
      ['{"sinceNow":"PT1H","label":"a\\nb"}', 'invalid-request', /body\.label/],
      [JSON.stringify({ sinceNow: 'PT1H', label: 'x'.repeat(201) }), 'invalid-request', /body\.label/],
      ['{"sinceNow":"PT1H","maxBytes":1e300}', 'invalid-request', /body\.maxBytes/],
      ['{"sinceNow":60}', 'invalid-request', /body\.sinceNow must be string/],
      ['{"sinceNow":"PT1H","label":""}', 'invalid-request', /body\.label/],
      ['{"sinceNow":"PT1H","maxImages":0}', 'invalid-request', /body\.maxImages/],
      ['{"sinceNow":"PT1H","maxImages":"3"}', 'invalid-request', /body\.maxImages/],
      ['{"sinceNow":"PT1H","maxBytes":1.5}', 'invalid-request', /body\.maxBytes/],
      ['{"timeExact":"2020-01-01T00:00:00Z"}', 'invalid-expiry', /30 s/],
      [JSON.stringify({ timeExact: inMs(10_000) }), 'invalid-expiry', /30 s/],
      ['{"timeExact":"10000-01-01T00:00:00Z"}', 'invalid-expiry', /RFC 3339/],
      ['{"timeExact":"2999-12-01"}', 'invalid-expiry', /RFC 3339/],
      ['{"timeExact":"2999-02-30T00:00:00Z"}', 'invalid-expiry', /RFC 3339/],
      ['{"sinceNow":"P9000Y"}', 'invalid-expiry', /9999/],
      ['{"sinceNow":"P0D"}', 'invalid-expiry', /30 s/],
      ['{"sinceNow":"PT29S"}', 'invalid-expiry', /30 s/],
      ['{"sinceNow":"P1.5M"}', 'invalid-expiry', /ISO 8601/],
      ['{"sinceNow":"PT"}', 'invalid-expiry', /ISO 8601/],
      ['{"sinceNow":"P"}', 'invalid-expiry', /ISO 8601/],
      ['{"sinceNow":"-PT1H"}', 'invalid-expiry', /ISO 8601/],
      ['{"sinceNow":"an hour PT1H"}', 'invalid-expiry', /ISO 8601/],
      ['{"sinceNow":"soon","timeExact":"then"}', 'invalid-expiry', /ISO 8601.*RFC 3339/],
    ] as const) {
      isProblem(t, await create(app, body), 400, problem, detail, body)
    }
    for (const type of ['text/css', 'text/plain', 'application/x-www-form-urlencodedx']) {
      const answer = await create(app, 'sinceNow=PT1H', { 'content-type': type })
      isProblem(t, answer, 415, 'unsupported-media-type', /application\/json/, type)
    }
    const form = multipart([
      { body: 'PT1H', headers: { 'Content-Disposition': 'form-data; name="sinceNow"' } },
    ])
    isProblem(t, await create(app, form.payload, form.headers), 415, 'unsupported-media-type')
    isProblem(t, await create(app, `{"label":"${'x'.repeat(70_000)}"}`), 413, 'too-large', /65536 bytes/)
  })

  await t.test('JSON is accepted with the content type of a form, or without one', async (t) => {
    for (const headers of [
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'Application/X-WWW-Form-Urlencoded; charset=utf-8' },
      {},
    ]) {
      t.equal((await create(app, Buffer.from('{"sinceNow":"PT1H"}').toString(), headers)).statusCode, 201)
      isProblem(t, await create(app, 'sinceNow=PT1H', headers), 400, 'invalid-request', /JSON/)
    }
  })

  await t.test('links are listed newest first, page by page', async (t) => {
    const made = []
    for (let n = 0; n < 5; n++) {
      made.push((await makeLink(app)).slice('/uploads/'.length))
      await sleep(2) // two of the same millisecond have no order
    }
    const seen: string[] = []
    let url = '/admin/ephemeral-links?limit=2'
    while (seen.length < 5) {
      const { items, nextCursor } = (await app.inject({ url, headers: admin })).json()
      t.ok(items.length <= 2)
      seen.push(...items.map(({ id }: { id: string }) => id))
      url = `/admin/ephemeral-links?limit=2&cursor=${nextCursor}`
    }
    t.strictSame(seen.slice(0, 5), made.reverse())
    for (const query of ['limit=0', 'limit=501', 'limit=two', 'colour=red']) {
      isProblem(
        t,
        await app.inject({ url: `/admin/ephemeral-links?${query}`, headers: admin }),
        400,
        'invalid-request',
        /querystring/,
      )
    }
    const cursor = (text: string) => Buffer.from(text).toString('base64url')
    const own = `/admin/ephemeral-links/${made[0]}`
    for (const [list, value] of [
      ['/admin/ephemeral-links', 'nonsense'],
      ['/admin/ephemeral-links', '%00'],
      ['/admin/ephemeral-links', cursor(`999999999999999.${'x'.repeat(48)}`)], // in the year 33658
      ['/admin/images', cursor(`999999999999999.${'x'.repeat(48)}`)],
      [own, cursor(`1.${'x'.repeat(48)}`)], // what came in by a link has other ids
    ] as const) {
      const answer = await app.inject({ url: `${list}?cursor=${value}`, headers: admin })
      isProblem(t, answer, 400, 'invalid-cursor', /nextCursor/, `${list} ${value}`)
    }
  })

  await t.test('a link that is unknown, revoked, expired or used up accepts nothing', async (t) => {
    const body = await makeImage()
    const upload = (url: string) => app.inject({ method: 'POST', url, ...multipart([{ body }]) })
    const idOf = (path: string) => path.replace('/uploads/', '/admin/ephemeral-links/')

    isProblem(t, await upload(`/uploads/${'x'.repeat(48)}`), 404, 'link-not-found')
    isProblem(t, await upload('/uploads/x'), 404, 'link-not-found')
    isProblem(t, await app.inject({ url: idOf('/uploads/x'), headers: admin }), 404, 'link-not-found')
    isProblem(
      t,
      await app.inject({ method: 'DELETE', url: idOf('/uploads/x'), headers: admin }),
      404,
      'link-not-found',
    )

    const revoked = await makeLink(app)
    t.equal((await upload(revoked)).statusCode, 200)
    for (let n = 0; n < 2; n++) {
      const answer = await app.inject({ method: 'DELETE', url: idOf(revoked), headers: admin })
      t.equal(answer.statusCode, 204)
    }
    isProblem(t, await upload(revoked), 410, 'link-revoked')
    t.match((await app.inject({ url: idOf(revoked), headers: admin })).json(), {
      status: 'revoked',
      uploads: 1,
    })

    const expired = await makeLink(app, { timeExact: inMs(31_000) })
    t.equal((await upload(expired)).statusCode, 200)
    const setBack = forwardDate(32_000)
    isProblem(t, await upload(expired), 410, 'link-expired')
    setBack()

    const limited = await makeLink(app, { sinceNow: 'PT1H', maxImages: 2 })
    await upload(limited)
    await upload(limited)
    isProblem(t, await upload(limited), 410, 'link-used-up')
    const small = await makeLink(app, { sinceNow: 'PT1H', maxBytes: body.length + 1 })
    t.equal((await upload(small)).statusCode, 200)
    const over = await upload(small)
    isProblem(t, over, 410, 'link-used-up')
    t.strictSame(over.json().rejected, [{ name: 'image.png', reason: 'link_used_up' }])
  })

  await t.test('a limit is never exceeded by concurrent uploads', async (t) => {
    const link = await makeLink(app, { sinceNow: 'PT1H', maxImages: 7 })
    const images = await Promise.all(Array.from({ length: 30 }, () => makeImage()))
    const answers = await Promise.all(
      images.map((body) => app.inject({ method: 'POST', url: link, ...multipart([{ body }]) })),
    )
    t.equal(answers.filter(({ statusCode }) => statusCode === 200).length, 7)
    t.equal(answers.filter(({ statusCode }) => statusCode === 410).length, 23)
  })

  await t.test('a link lists its uploads', async (t) => {
    const link = await makeLink(app)
    const body = await makeImage('jpeg')
    await app.inject({ method: 'POST', url: link, ...multipart([{ body, filename: 'one.jpg' }]) })
    await app.inject({ method: 'POST', url: link, ...multipart([{ body, filename: 'two.jpg' }]) })
    const url = link.replace('/uploads/', '/admin/ephemeral-links/')
    const { received, uploads, bytes } = (await app.inject({ url, headers: admin })).json()
    t.match(received.items, [
      { name: 'two.jpg', duplicate: true, size: body.length, status: 'ready' },
      { name: 'one.jpg', duplicate: false, size: body.length, status: 'ready' },
    ])
    t.strictSame([uploads, bytes], [2, 2 * body.length])
    const first = (await app.inject({ url: `${url}?limit=1`, headers: admin })).json().received
    const rest = (
      await app.inject({ url: `${url}?limit=1&cursor=${first.nextCursor}`, headers: admin })
    ).json()
    t.match(rest.received, { items: [{ name: 'one.jpg' }] })
    t.notOk(rest.received.nextCursor)
  })

  if (!env.DATABASE_URL) return
  await t.test('a revoked link is closed at once, and within 5 s in another process', async (t) => {
    const one = await build(t, shared)
    const other = await build(t, shared)
    const link = await makeLink(one)
    const upload = async (app: App) =>
      app.inject({ method: 'POST', url: link, ...multipart([{ body: await makeImage() }]) })
    const { id } = (await upload(one)).json().processed[0]
    const ask = async (app: App, method: 'GET' | 'HEAD') =>
      (await app.inject({ method, url: `/images/${id}` })).statusCode
    // Now both remember the link and the image.
    t.strictSame([(await upload(one)).statusCode, (await upload(other)).statusCode], [200, 200])
    t.strictSame([await ask(one, 'HEAD'), await ask(other, 'HEAD')], [200, 200])

    const linkUrl = link.replace('/uploads/', '/admin/ephemeral-links/')
    for (const url of [linkUrl, `/admin/images/${id}`]) {
      t.equal((await one.inject({ method: 'DELETE', url, headers: admin })).statusCode, 204)
    }
    isProblem(t, await upload(one), 410, 'link-revoked')
    t.strictSame([await ask(one, 'HEAD'), await ask(one, 'GET')], [410, 410])
    forward(t, 5_000)
    isProblem(t, await upload(other), 410, 'link-revoked')
    t.strictSame([await ask(other, 'HEAD'), await ask(other, 'GET')], [410, 410])
  })
})
