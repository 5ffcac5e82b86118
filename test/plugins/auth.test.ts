import t from 'tap'
import { build, TOKEN } from '../helpers/app.ts'
import { isProblem } from '../helpers/problem.ts'

t.test('every admin call needs a valid token', async (t) => {
  const app = await build(t, { ACCESS_TOKEN: `old-token,${TOKEN}` })
  const ask = (headers: Record<string, string | string[]>) => app.inject({ url: '/admin/stats', headers })

  for (const headers of [
    { 'x-access-token': TOKEN },
    { 'x-access-token': 'old-token' },
    { authorization: `Bearer ${TOKEN}` },
    { authorization: `bearer  ${TOKEN}` },
    { 'x-access-token': '', authorization: `Bearer ${TOKEN}` }, // an empty field is not a token
    { 'x-access-token': TOKEN, authorization: 'Basic for-a-proxy' },
    // Generated clients send the same token in both fields.
    { 'x-access-token': TOKEN, authorization: `Bearer ${TOKEN}` },
    { 'x-access-token': `${TOKEN}, ${TOKEN}` },
  ]) {
    t.equal((await ask(headers)).statusCode, 200, JSON.stringify(headers))
  }
  for (const headers of [
    {},
    { 'x-access-token': '' },
    { 'x-access-token': 'wrong' },
    { 'x-access-token': `${TOKEN}x` },
    { 'x-access-token': TOKEN.slice(0, -1) },
    { authorization: TOKEN },
    { authorization: `Basic ${TOKEN}` },
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${TOKEN.toUpperCase()}` },
  ]) {
    const answer = await ask(headers)
    isProblem(t, answer, 401, 'unauthorized', /X-Access-Token/, JSON.stringify(headers))
    t.match(answer.headers['www-authenticate'], /^Bearer/)
  }
  for (const headers of [
    { 'x-access-token': 'wrong', authorization: `Bearer ${TOKEN}` },
    { 'x-access-token': [TOKEN, 'old-token'] },
    { 'x-access-token': `${TOKEN}, old-token` },
    { authorization: [`Bearer ${TOKEN}`, 'Bearer wrong'] },
    { authorization: ['Bearer wrong', `Bearer ${TOKEN}`] },
  ]) {
    isProblem(t, await ask(headers), 400, 'too-many-tokens', /one access token/)
  }

  const routes = Object.entries(
    app.swagger().paths as Record<string, Record<string, { security: object[] }>>,
  ).filter(([path]) => path.startsWith('/admin/'))
  t.ok(routes.length >= 5)
  for (const [path, operations] of routes) {
    for (const [method, { security }] of Object.entries(operations)) {
      if (security.length === 0) continue // sign-in
      const answer = await app.inject({
        method: method.toUpperCase() as 'GET',
        url: path.replace('{id}', 'x'.repeat(10_000)),
        headers: { 'content-type': 'text/plain' },
        body: 'not read',
      })
      t.equal(answer.statusCode, 401, `${method} ${path}`)
    }
  }
})

t.test('a weak token is accepted only on loopback addresses', async (t) => {
  for (const HOST of ['::1', 'localhost']) {
    const app = await build(t, { ACCESS_TOKEN: 'foobar', HOST })
    const answer = await app.inject({ url: '/admin/stats', headers: { 'x-access-token': 'foobar' } })
    t.equal(answer.statusCode, 200, HOST)
  }
  for (const HOST of ['0.0.0.0', 'example.org'])
    await t.rejects(
      build(t, { ACCESS_TOKEN: `${TOKEN},foobar`, HOST }),
      { message: /openssl rand -hex 24/ },
      HOST,
    )
  await build(t, { HOST: '0.0.0.0' })
})
