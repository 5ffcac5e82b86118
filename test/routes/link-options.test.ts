import t from 'tap'
import { createFailedLookups } from '../../services/access/failed-lookups.ts'
import { createPasswords, hashPassword } from '../../services/links/passwords.ts'
import { admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart, type TestPart } from '../helpers/multipart.ts'

const HOUR = { sinceNow: 'PT1H' }
const app = await build(t, { PUBLIC_URL: 'https://images.example/drop', GUESS_LIMIT: '30' })
const png = await makeImage()
const jpeg = await makeImage('jpeg')
const idOf = (path: string) => path.slice('/uploads/'.length)

const send = (url: string, parts: TestPart[] = [{ body: png }], headers: Record<string, string> = {}) => {
  const { headers: type, payload } = multipart(parts)
  return app.inject({ method: 'POST', url, headers: { ...type, ...headers }, payload })
}
const sendRaw = (url: string, body: Buffer, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url, headers: { 'content-type': 'image/png', ...headers }, payload: body })
const change = (path: string, body: object) =>
  app.inject({ method: 'PATCH', url: `/admin/ephemeral-links/${idOf(path)}`, headers: admin, body })
const read = async (path: string) =>
  (await app.inject({ url: `/admin/ephemeral-links/${idOf(path)}`, headers: admin })).json()
const text = (name: string, body: string): TestPart => ({
  headers: { 'Content-Disposition': `form-data; name="${name}"` },
  body,
})
const basic = (password: string) => ({
  authorization: `Basic ${Buffer.from(`anybody:${password}`).toString('base64')}`,
})

t.test('a program reads what a link asks for and accepts', async (t) => {
  const path = await makeLink(app, {
    ...HOUR,
    label: 'The party',
    description: 'Please send\nyour pictures.',
    accept: ['image/png'],
    maxFileSize: 1_000_000,
    maxImages: 3,
    maxBytes: 5_000_000,
    askSender: 'optional',
  })
  await send(path)
  const answer = await app.inject(path)
  t.match(answer.headers, { vary: /Accept/, 'cache-control': 'no-store' })
  const { expiresOn, ...rest } = answer.json()
  t.match(expiresOn, /Z$/)
  t.strictSame(rest, {
    status: 'open',
    label: 'The party',
    description: 'Please send\nyour pictures.',
    accept: ['image/png'],
    maxFileSize: 1_000_000,
    maxFiles: 20,
    remainingImages: 2,
    remainingBytes: 5_000_000 - png.length,
    hasPassword: false,
    askSender: 'optional',
  })
  const link = await read(path)
  t.match(link, { url: `https://images.example/drop${path}`, relativePath: path, hasPassword: false })
})

t.test('a link accepts only its media types, also of an image that is known', async (t) => {
  const any = await makeLink(app)
  t.equal((await send(any, [{ body: jpeg }])).statusCode, 200)
  const path = await makeLink(app, { ...HOUR, accept: ['image/png'] })
  const both = await send(path, [{ body: jpeg, filename: 'a.png' }, { body: png }])
  t.match(both.json(), { processed: [{}], rejected: [{ name: 'a.png', reason: 'not_accepted' }] })
  t.match(await sendRaw(path, jpeg), { statusCode: 415, body: /not-accepted/ })
  t.equal((await send(path, [{ body: png }])).statusCode, 200, 'a duplicate')
})

t.test('a file above the limit of the link is rejected', async (t) => {
  const path = await makeLink(app, { ...HOUR, maxFileSize: png.length - 1 })
  const refused = await send(path)
  t.match(refused, { statusCode: 413 })
  t.match(refused.json(), {
    rejected: [{ reason: 'too_large' }],
    detail: new RegExp(`${png.length - 1} bytes`),
  })
  t.equal((await sendRaw(path, png)).statusCode, 413)
  await change(path, { maxFileSize: png.length })
  t.equal((await sendRaw(path, png)).statusCode, 200)
})

t.test('a link that is not open yet refuses images and says when it opens', async (t) => {
  const opensOn = new Date(Date.now() + 60_000).toISOString()
  const path = await makeLink(app, { ...HOUR, opensOn })
  for (const answer of [await send(path), await sendRaw(path, png), await app.inject(path)])
    t.match(answer.json(), {
      status: 403,
      type: 'urn:hasty:problem:link-not-open',
      detail: new RegExp(opensOn),
    })
  t.match(await read(path), { status: 'not_open_yet', opensOn })
  t.equal((await change(path, { opensOn: null })).json().status, 'open')
  t.equal((await send(path)).statusCode, 200)
  const never = { ...HOUR, opensOn: new Date(Date.now() + 7_200_000).toISOString() }
  const refused = await app.inject({
    method: 'POST',
    url: '/admin/ephemeral-links',
    headers: admin,
    body: never,
  })
  t.match(refused.json(), { status: 400, type: 'urn:hasty:problem:invalid-expiry' })
})

t.test('a link with a password accepts only requests with it', async (t) => {
  const password = 'blüe heron: 47'
  const path = await makeLink(app, { ...HOUR, password })
  for (const answer of [await send(path), await sendRaw(path, png), await app.inject(path)]) {
    t.equal(answer.statusCode, 401)
    t.match(answer.headers['www-authenticate'], /^Basic /)
    t.notMatch(answer.body, 'label')
  }
  t.equal((await send(path, undefined, basic(password))).statusCode, 200)
  t.equal((await sendRaw(path, png, basic(password))).statusCode, 200)
  t.match((await app.inject({ url: path, headers: basic(password) })).json(), { hasPassword: true })
  t.match((await send(path, undefined, basic('wrong'))).json(), { type: 'urn:hasty:problem:wrong-password' })
  const shown = JSON.stringify([
    await read(path),
    (await app.inject({ url: path, headers: basic(password) })).json(),
  ])
  t.notMatch(shown, /blüe|scrypt|"password/)
  t.equal((await change(path, { password: null })).json().hasPassword, false)
  t.equal((await send(path)).statusCode, 200)
})

t.test('above the limit of wrong passwords of a network, also the right one is refused', async (t) => {
  const path = await makeLink(app, { ...HOUR, password: 'right' })
  const from = (password: string, remoteAddress: string) =>
    app.inject({ url: path, headers: basic(password), remoteAddress })
  for (let n = 0; n < 3; n++) t.equal((await from('wrong', '192.0.2.1')).statusCode, 401)
  const refused = await from('right', '192.0.2.1')
  t.equal(refused.statusCode, 429)
  t.ok(Number(refused.headers['retry-after']) > 0)
  t.equal((await from('right', '192.0.2.2')).statusCode, 200, 'another network')
  t.equal((await from('right', '192.0.2.1')).statusCode, 200, 'a password that was right before')
})

t.test('wrong passwords that are sent at the same time are limited too', async (t) => {
  const path = await makeLink(app, { ...HOUR, password: 'right' })
  const tries = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((password) =>
    app.inject({ url: path, headers: basic(password), remoteAddress: '192.0.2.9' }),
  )
  const statuses = (await Promise.all(tries)).map(({ statusCode }) => statusCode)
  t.strictSame(statuses.sort(), [401, 401, 401, 429, 429, 429, 429, 429])
})

for (const networks of [0, 11_000])
  t.test(`nobody can lock the password of a link, also after ${networks} networks have failed`, async (t) => {
    const failedLookups = createFailedLookups({
      failedLookups: { add: async () => new Map(), forget: async () => {} },
    })
    for (let n = 0; n < networks; n++) failedLookups.add(`link ${n}`)
    const passwords = createPasswords({ failedLookups, limit: 3 })
    const link = { id: 'x', passwordHash: await hashPassword('right') } as Parameters<
      typeof passwords.require
    >[0]
    const send = (password: string, network: string) =>
      passwords.require(link, { password }, network).then(
        () => 'accepted',
        ({ name }: Error) => name,
      )
    const wrong = ['a', 'b', 'c'].map((network) => send(`wrong ${network}`, network))
    t.strictSame(await Promise.all(wrong), Array(3).fill('WrongPassword'))
    const start = performance.now()
    const first = [send('wrong d', 'd'), send('wrong e', 'e')]
    const flood = Array.from({ length: 30 }, (_, n) => send(`wrong ${n}`, 'd'))
    const right = [send('right', 'f'), send('right', 'f')]
    t.strictSame(await Promise.all(first), ['WrongPassword', 'WrongPassword'])
    t.strictSame(new Set(await Promise.all(flood)), new Set(['Busy']), 'a network has one place')
    t.strictSame(await Promise.all(right), ['accepted', 'accepted'])
    t.ok(performance.now() - start > 3 * 240, 'its checks are slowed down')
    // Above 10,000 networks, further ones are not counted.
    t.equal(await send('another', 'd'), networks ? 'WrongPassword' : 'TooManyFailedLookups')
  })

t.test('the form of a browser gets a cookie for its link alone', async (t) => {
  const html = { accept: 'text/html', 'content-type': 'application/x-www-form-urlencoded' }
  const path = await makeLink(app, { ...HOUR, password: 'right', label: 'Secret party' })
  const page = await app.inject({ url: path, headers: { accept: 'text/html' } })
  t.equal(page.statusCode, 401)
  t.notMatch(page.headers['www-authenticate'], /Basic/, 'the browser does not ask for a password itself')
  t.notMatch(page.body, 'Secret party')
  const unlock = (password: string) =>
    app.inject({
      method: 'POST',
      url: `${path}/unlock`,
      headers: html,
      payload: new URLSearchParams({ password }).toString(),
    })
  t.match(await unlock('wrong'), { statusCode: 401, headers: { 'set-cookie': undefined } })
  const unlocked = await unlock('right')
  t.match(unlocked, { statusCode: 303, headers: { location: `../${idOf(path)}` } })
  const [cookie = '', ...attributes] = String(unlocked.headers['set-cookie']).split('; ')
  t.strictSame(attributes, ['Max-Age=43200', 'HttpOnly', 'SameSite=Lax', 'Secure'])
  t.match(await app.inject({ url: path, headers: { accept: 'text/html', cookie } }), {
    statusCode: 200,
    body: 'Secret party',
  })
  t.equal((await send(path, undefined, { cookie })).statusCode, 200)
  const other = await makeLink(app, { ...HOUR, password: 'right' })
  t.equal((await send(other, undefined, { cookie })).statusCode, 401, 'another link')
  const [until, signature] = cookie.slice('hasty-link='.length).split('.')
  const forged = `hasty-link=${Number(until) + 1}.${signature}`
  t.equal((await send(path, undefined, { cookie: forged })).statusCode, 401, 'a longer time')
  await change(path, { password: 'new' })
  t.equal((await send(path, undefined, { cookie })).statusCode, 401, 'after a new password')
})

t.test(
  'the name and the message of the sender are shown with the images, and erased with them',
  async (t) => {
    const path = await makeLink(app, { ...HOUR, askSender: 'required' })
    t.match((await send(path)).json(), { status: 400, type: 'urn:hasty:problem:sender-required' })
    t.match((await sendRaw(path, png)).json(), { type: 'urn:hasty:problem:sender-required' })
    const form = await send(path, [
      text('sender', ' Ada\u0000 \u202eLovelace '),
      text('message', 'Hello,\r\nhere <b>they</b> are.'),
      { body: png },
    ])
    t.equal(form.statusCode, 200)
    t.equal((await sendRaw(`${path}?sender=Charles&message=Hi`, jpeg)).statusCode, 200)
    const { items } = (await read(path)).received
    t.match(items, [
      { sender: 'Charles', message: 'Hi' },
      { sender: 'Ada Lovelace', message: 'Hello,\nhere <b>they</b> are.' },
    ])
    await app.inject({ method: 'DELETE', url: `/admin/images/${items[1].imageId}`, headers: admin })
    const [, erased] = (await read(path)).received.items
    t.notOk('sender' in erased || 'message' in erased || 'name' in erased)
  },
)

t.test('a name or a message that is too long is refused, and the longest one is accepted', async (t) => {
  const path = await makeLink(app)
  const long = '😀'.repeat(100)
  t.equal(
    (await send(path, [text('sender', long), text('message', '😀'.repeat(1000)), { body: png }])).statusCode,
    200,
  )
  t.equal((await read(path)).received.items[0].sender, long)
  for (const parts of [
    [text('sender', `${long}x`)],
    [text('message', 'x'.repeat(1001))],
    [text('message', 'x'.repeat(100_000))],
  ])
    t.match((await send(path, [...parts, { body: png }])).json(), {
      status: 400,
      type: 'urn:hasty:problem:invalid-sender',
    })
})

t.test('an image may be in a field with the name sender', async (t) => {
  const path = await makeLink(app)
  t.match((await send(path, [{ name: 'sender', filename: 'a.png', body: png }])).json(), {
    processed: [{ name: 'a.png' }],
  })
})

t.test('a change extends, shortens and relabels a link, and changes its limits', async (t) => {
  const path = await makeLink(app, { sinceNow: 'PT1H', label: 'Old', maxImages: 1 })
  await send(path)
  t.equal((await send(path)).statusCode, 410)
  const changed = await change(path, { sinceNow: 'P1D', label: 'New', maxImages: 2, description: 'Why' })
  t.equal(changed.statusCode, 200)
  t.match(changed.json(), { label: 'New', maxImages: 2, status: 'open', uploads: 1, description: 'Why' })
  t.ok(Date.parse(changed.json().expiresOn) > Date.now() + 86_000_000)
  t.equal((await send(path)).statusCode, 200)
  t.equal((await change(path, { timeExact: new Date(Date.now() + 40_000).toISOString() })).statusCode, 200)
  t.match((await change(path, { label: null, maxImages: null })).json(), { status: 'open', uploads: 2 })
  t.notOk('label' in (await read(path)))
  for (const wrong of [
    {},
    { unknown: 1 },
    { sinceNow: 'PT1S' },
    { accept: [] },
    { accept: ['text/html'] },
    { askSender: null },
  ])
    t.equal((await change(path, wrong)).statusCode, 400, JSON.stringify(wrong))
  await app.inject({ method: 'DELETE', url: `/admin/ephemeral-links/${idOf(path)}`, headers: admin })
  t.match((await change(path, { label: 'x' })).json(), {
    status: 410,
    type: 'urn:hasty:problem:link-revoked',
  })
  t.equal((await change('/uploads/unknown', { label: 'x' })).statusCode, 404)
})

t.test('a link that gets its first limit counts its earlier uploads', async (t) => {
  const path = await makeLink(app)
  await send(path)
  await send(path)
  t.equal((await change(path, { maxImages: 3 })).json().status, 'open')
  t.equal((await send(path)).statusCode, 200)
  t.equal((await send(path)).statusCode, 410)
})

t.test('a resumable upload follows the rules of its link', async (t) => {
  const tus = (path: string, body: Buffer, metadata: Record<string, string> = {}, headers = {}) =>
    app.inject({
      method: 'POST',
      url: `${path}/files`,
      headers: {
        'tus-resumable': '1.0.0',
        'content-type': 'application/offset+octet-stream',
        'upload-length': String(body.length),
        'upload-metadata': Object.entries(metadata)
          .map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`)
          .join(),
        accept: '*/*',
        ...headers,
      },
      payload: body,
    })
  const path = await makeLink(app, {
    ...HOUR,
    password: 'right',
    accept: ['image/png'],
    maxFileSize: png.length,
    askSender: 'required',
  })
  const sender = { sender: 'Ada', message: 'x'.repeat(1000) }
  t.equal((await tus(path, png, sender)).statusCode, 401)
  t.match((await tus(path, png, {}, basic('right'))).json(), { type: 'urn:hasty:problem:sender-required' })
  t.match((await tus(path, jpeg.subarray(0, 60), sender, basic('right'))).json(), { status: 415 })
  t.equal((await tus(path, Buffer.alloc(png.length + 1), sender, basic('right'))).statusCode, 413)
  t.equal((await tus(path, png, sender, basic('right'))).statusCode, 201)
  t.match((await read(path)).received.items, [sender])
})
