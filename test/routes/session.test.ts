import type { InjectOptions } from 'fastify'
import t from 'tap'
import { type App, admin, build, makeLink, TOKEN } from '../helpers/app.ts'
import { dataDirWithLentDatabase } from '../helpers/embedded.ts'
import { isProblem } from '../helpers/problem.ts'

const signIn = (app: App, token = TOKEN, options: Partial<InjectOptions> = {}) =>
  app.inject({ method: 'POST', url: '/admin/session', body: { token }, ...options })

/** Signs in, and returns the header fields that a browser sends from the console. */
async function cookieOf(app: App, token?: string) {
  const answer = await signIn(app, token)
  if (answer.statusCode !== 201) throw new Error(answer.body)
  const [cookie = ''] = String(answer.headers['set-cookie']).split(';')
  return { cookie, 'sec-fetch-site': 'same-origin' }
}

const app = await build(t)

t.test('signing in with the token sets a cookie that only this service can use', async (t) => {
  const answer = await signIn(app)
  t.equal(answer.statusCode, 201)
  t.equal(answer.json().name, 'root')
  t.ok(Date.parse(answer.json().expiresOn) - Date.now() <= 12 * 3_600_000)
  const [value, ...attributes] = String(answer.headers['set-cookie']).split('; ')
  t.match(value, /^hasty-session=[\w-]{43}$/)
  t.strictSame(attributes.sort(), ['HttpOnly', 'Max-Age=43200', 'Path=/', 'SameSite=Strict'])
  t.equal(answer.headers['cache-control'], 'no-store')
  t.notMatch(answer.body, TOKEN)

  const behindTls = await build(t, { PUBLIC_URL: 'https://example.org/drop/' })
  const secure = String((await signIn(behindTls)).headers['set-cookie'])
  t.match(secure, /^__Secure-hasty-session=/)
  t.match(secure, /Path=\/drop\/(;|$)/)
  t.match(secure, /; Secure/)
  const proxied = await build(t, { TRUST_PROXY: 'true' })
  const forwarded = await signIn(proxied, TOKEN, { headers: { 'x-forwarded-proto': 'https' } })
  t.match(forwarded.headers['set-cookie'], /; Secure/)
})

t.test('behind TLS, a cookie that another host of the domain could set is no session', async (t) => {
  const app = await build(t, { PUBLIC_URL: 'https://images.example.org' })
  const headers = await cookieOf(app)
  t.match(headers.cookie, /^__Host-hasty-session=/)
  const ask = async (cookie: string) =>
    (await app.inject({ url: '/admin/stats', headers: { ...headers, cookie } })).statusCode
  t.equal(await ask(headers.cookie), 200)
  for (const prefix of ['', '__Secure-'])
    t.equal(await ask(headers.cookie.replace('__Host-', prefix)), 401, `${prefix}hasty-session`)
})

t.test('the session can do what the token can, until sign-out', async (t) => {
  const headers = await cookieOf(app)
  const other = await cookieOf(app)
  t.match((await app.inject({ url: '/admin/session', headers })).json(), { name: 'root', expiresOn: String })
  t.equal((await app.inject({ url: '/admin/stats', headers })).statusCode, 200)
  const created = await app.inject({
    method: 'POST',
    url: '/admin/ephemeral-links',
    headers,
    body: { sinceNow: 'PT1H' },
  })
  t.equal(created.statusCode, 201)

  const out = await app.inject({ method: 'DELETE', url: '/admin/session', headers })
  t.equal(out.statusCode, 204)
  t.match(out.headers['set-cookie'], /^hasty-session=; Max-Age=0; Path=\/; HttpOnly; SameSite=Strict$/)
  isProblem(t, await app.inject({ url: '/admin/stats', headers }), 401, 'unauthorized')
  t.equal((await app.inject({ url: '/admin/stats', headers: other })).statusCode, 200, 'another session')
})

t.test('the cookie is accepted only from pages of the same origin', async (t) => {
  const { cookie } = await cookieOf(app)
  const ask = (method: 'GET' | 'POST' | 'DELETE', headers: Record<string, string>) =>
    app.inject({
      method,
      url: method === 'GET' ? '/admin/stats' : '/admin/ephemeral-links',
      headers: { host: 'images.example', cookie, ...headers },
      ...(method === 'POST' && { body: { sinceNow: 'PT1H' } }),
    })
  for (const [method, headers] of [
    ['GET', {}],
    ['GET', { 'sec-fetch-site': 'none' }],
    ['GET', { origin: 'http://images.example' }],
    ['POST', { 'sec-fetch-site': 'same-origin', origin: 'https://images.example' }],
    ['POST', { origin: 'http://images.example' }],
  ] as const)
    t.ok((await ask(method, headers)).statusCode < 300, `${method} ${JSON.stringify(headers)}`)
  for (const [method, headers] of [
    ['GET', { 'sec-fetch-site': 'cross-site' }],
    ['GET', { 'sec-fetch-site': 'same-site' }],
    ['GET', { origin: 'http://images.example:8080' }],
    ['GET', { origin: 'null' }],
    ['POST', {}],
    ['POST', { 'sec-fetch-site': 'none' }],
    ['POST', { 'sec-fetch-site': 'cross-site', origin: 'http://images.example' }],
    ['POST', { origin: 'http://evil.example' }],
    ['POST', { origin: 'http://images.example.evil.example' }],
    ['POST', { origin: 'null' }],
  ] as const)
    isProblem(t, await ask(method, headers), 403, 'foreign-origin', /PUBLIC_URL/, JSON.stringify(headers))
  t.equal((await ask('POST', { 'sec-fetch-site': 'cross-site', ...admin })).statusCode, 201, 'with the token')
  isProblem(
    t,
    await signIn(app, TOKEN, { headers: { origin: 'http://evil.example' } }),
    403,
    'foreign-origin',
  )
})

t.test('a proxy may change the host if PUBLIC_URL names it', async (t) => {
  const app = await build(t, { PUBLIC_URL: 'http://images.example/drop' })
  const headers = { ...(await cookieOf(app)), host: '10.0.0.7:3000', origin: 'http://images.example' }
  const { 'sec-fetch-site': _, ...old } = headers
  const body = { sinceNow: 'PT1H' }
  const post = { method: 'POST', url: '/admin/ephemeral-links', body } as const
  t.equal((await app.inject({ ...post, headers: old })).statusCode, 201)
})

t.test('a form of another page, or JSON with the content type of a form, is refused', async (t) => {
  const headers = await cookieOf(app)
  for (const type of [
    'application/x-www-form-urlencoded',
    'text/plain',
    'multipart/form-data; boundary=x',
    '',
  ]) {
    const answer = await app.inject({
      method: 'POST',
      url: '/admin/ephemeral-links',
      headers: { ...headers, ...(type && { 'content-type': type }) },
      payload: Buffer.from('{"sinceNow":"PT1H"}'),
    })
    isProblem(t, answer, 415, 'unsupported-media-type', /./, type)
    const sent = await app.inject({
      method: 'POST',
      url: '/admin/session',
      headers: { ...(type && { 'content-type': type }) },
      payload: Buffer.from(JSON.stringify({ token: TOKEN })),
    })
    isProblem(t, sent, 415, 'unsupported-media-type', /./, `sign-in: ${type}`)
  }
  const { statusCode } = await app.inject({
    method: 'POST',
    url: '/admin/ephemeral-links',
    headers: { ...admin, 'content-type': 'application/x-www-form-urlencoded' },
    payload: '{"sinceNow":"PT1H"}',
  })
  t.equal(statusCode, 201, 'curl -d with the token')
})

t.test('a session ends when its token is replaced, or after 12 hours, in every process', async (t) => {
  const env = { DATA_DIR: await dataDirWithLentDatabase(t) }
  const one = await build(t, { ...env, ACCESS_TOKEN: `${TOKEN},the-second-token-of-tests` })
  const [first, second] = [await cookieOf(one), await cookieOf(one, 'the-second-token-of-tests')]
  const { sql } = one.stores.data
  const rows = await sql`select * from sessions`
  t.notMatch(JSON.stringify(rows), first.cookie.split('=')[1]!, 'the database does not have the cookie')
  t.notMatch(JSON.stringify(rows), TOKEN)
  const ask = async (app: App, headers: object) =>
    (await app.inject({ url: '/admin/stats', headers: headers as Record<string, string> })).statusCode
  t.strictSame([await ask(one, first), await ask(one, second)], [200, 200])
  await sql`update sessions set expires_at = now() where id = ${rows[0]!.id}`
  const ended = [await ask(one, first), await ask(one, second)]
  t.strictSame(ended.sort(), [200, 401])
  const third = await cookieOf(one)
  t.equal((await sql`select id from sessions`).length, 2, 'expired sessions are deleted at the next sign-in')
  await one.close()

  const later = await build(t, { ...env, ACCESS_TOKEN: TOKEN })
  t.strictSame([await ask(later, third), await ask(later, second)], [200, 401])
})

t.test('the session of a named token has its scopes, and ends when it is rotated', async (t) => {
  const body = { name: 'desk', scopes: ['stats:read'] }
  const { id, token } = (
    await app.inject({ method: 'POST', url: '/admin/tokens', headers: admin, body })
  ).json()
  const headers = await cookieOf(app, token)
  t.match((await app.inject({ url: '/admin/session', headers })).json(), body)
  isProblem(t, await app.inject({ url: '/admin/images', headers }), 403, 'missing-scope')
  t.notMatch(JSON.stringify(await app.stores.data.sql`select * from sessions`), token)
  await app.inject({ method: 'POST', url: `/admin/tokens/${id}/rotate`, headers: admin })
  isProblem(t, await app.inject({ url: '/admin/stats', headers }), 401, 'unauthorized')
  const { items } = (await app.inject({ url: '/admin/audit', headers: admin })).json()
  t.match(
    items.find(({ action }: { action: string }) => action === 'createSession'),
    { actor: String, status: 201 },
  )
  t.notMatch(JSON.stringify(items), token)
})

t.test('wrong tokens are counted as failed look-ups, and right ones never', async (t) => {
  const app = await build(t, { GUESS_LIMIT: '3' })
  for (let n = 0; n < 3; n++) {
    const answer = await signIn(app, 'wrong')
    isProblem(t, answer, 401, 'unauthorized')
    t.match(answer.headers['www-authenticate'], /^Bearer/)
    t.notOk(answer.headers['set-cookie'])
  }
  isProblem(t, await signIn(app, 'wrong'), 429, 'too-many-failed-lookups')
  t.equal((await signIn(app)).statusCode, 201)
})

t.test('invented cookies are no session', async (t) => {
  for (const value of ['', 'x', 'A'.repeat(43), '"', `${'A'.repeat(10_000)}`, '%00', 'a=b']) {
    const headers = { cookie: `other=1; hasty-session=${value}`, 'sec-fetch-site': 'same-origin' }
    isProblem(t, await app.inject({ url: '/admin/stats', headers }), 401, 'unauthorized')
  }
})

t.test('the log has neither the token nor the cookie', async (t) => {
  const lines: object[] = []
  const app = await build(t, { LOG_LEVEL: 'trace' }, undefined, lines)
  const { cookie } = await cookieOf(app)
  await signIn(app, 'a-wrong-token')
  await app.inject({ url: '/admin/stats', headers: { cookie } })
  const log = JSON.stringify(lines)
  t.match(log, '/admin/session')
  for (const secret of [TOKEN, 'a-wrong-token', cookie.split('=')[1]!]) t.notMatch(log, secret)
})

t.test('without the console there is no sign-in, and no cookie is accepted', async (t) => {
  const DATA_DIR = await dataDirWithLentDatabase(t)
  const app = await build(t, { DATA_DIR })
  const headers = await cookieOf(app)
  await app.close()
  const closed = await build(t, { DATA_DIR, ADMIN_PAGES: 'false' })
  isProblem(t, await signIn(closed), 404, 'not-found')
  isProblem(t, await closed.inject({ url: '/admin/stats', headers }), 401, 'unauthorized')
  t.ok(await makeLink(closed))
})
