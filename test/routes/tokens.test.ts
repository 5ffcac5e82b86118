import t from 'tap'
import { scopes } from '../../schemas/tokens.ts'
import { type App, admin, build, makeLink, TOKEN } from '../helpers/app.ts'
import { isProblem } from '../helpers/problem.ts'

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

async function makeToken(app: App, scopes: string[], headers: object = admin, name = 'clerk') {
  const answer = await app.inject({
    method: 'POST',
    url: '/admin/tokens',
    headers: headers as Record<string, string>,
    body: { name, scopes },
  })
  return { answer, ...(answer.json() as { id: string; token: string }) }
}

t.test('a named token allows the calls of its scopes, and a refusal names the missing scope', async (t) => {
  const app = await build(t)
  await makeLink(app)
  const unknown = 'x'.repeat(48)
  const calls: Record<(typeof scopes)[number], [string, string][]> = {
    'links:write': [
      ['GET', '/admin/ephemeral-links'],
      ['DELETE', `/admin/ephemeral-links/${unknown}`],
    ],
    'images:read': [
      ['GET', '/admin/images'],
      ['GET', `/admin/images/${unknown}/content`],
    ],
    'images:delete': [['DELETE', `/admin/images/${unknown}`]],
    'stats:read': [['GET', '/admin/stats']],
    operate: [
      ['POST', '/admin/images/analyse?status=failed'],
      ['GET', '/admin/tokens'],
      ['GET', '/admin/audit'],
    ],
  }
  for (const own of scopes) {
    const { token } = await makeToken(app, [own])
    t.match(token, /^hasty_[\w-]{43}$/)
    for (const [scope, list] of Object.entries(calls)) {
      for (const [method, url] of list) {
        const answer = await app.inject({ method: method as 'GET', url, headers: bearer(token) })
        if (scope !== own) isProblem(t, answer, 403, 'missing-scope', new RegExp(scope), `${own}: ${url}`)
        else t.ok([200, 202, 404].includes(answer.statusCode), `${own}: ${url} ${answer.statusCode}`)
      }
    }
  }
  const stored = await app.stores.data.sql`select * from tokens`
  t.equal(stored.length, scopes.length)
  t.notMatch(JSON.stringify(stored), /hasty_/, 'the database has only hashes')
})

t.test('each call of the admin declares a scope in the contract, except those of sessions', async (t) => {
  const app = await build(t)
  const paths = Object.entries(app.swagger().paths as Record<string, Record<string, { description: string }>>)
  for (const [path, operations] of paths.filter(
    ([path]) => path.startsWith('/admin/') && path !== '/admin/session',
  ))
    for (const [method, { description }] of Object.entries(operations)) {
      const [, scope] = /Scope: `([^`]+)`\.$/.exec(description) ?? []
      t.ok((scopes as string[]).includes(scope!), `${method} ${path}: ${scope}`)
    }
})

t.test(
  'each operation of the contract allows exactly the scope that it names, and the audit log has each change',
  async (t) => {
    const app = await build(t, { GUESS_LIMIT: '0' })
    const tokens = new Map<string, string>()
    for (const scope of scopes) tokens.set(scope, (await makeToken(app, [scope])).token)
    const revoked = await makeToken(app, [...scopes])
    await app.inject({ method: 'DELETE', url: `/admin/tokens/${revoked.id}`, headers: admin })
    type Operation = { operationId: string; description: string; security: object[] }
    const paths = Object.entries(app.swagger().paths as Record<string, Record<string, Operation>>)
    const operations = paths.flatMap(([path, all]) =>
      Object.entries(all).map(([method, each]) => ({ path, method: method.toUpperCase(), ...each })),
    )
    t.ok(operations.length > 30, `${operations.length} operations`)
    let refused = 0
    for (const { path, method, operationId, description, security } of operations) {
      // An unknown id and no body: an allowed call changes nothing.
      const url = path.replaceAll(/\{\w+\}/g, 'x'.repeat(48))
      const call = async (headers: Record<string, string>, query = '') => {
        const answer = await app.inject({ method: method as 'GET', url: url + query, headers })
        return answer.statusCode
      }
      if (security.length === 0) {
        t.notMatch(path, /^\/admin\/(?!session$)/, `${operationId}: every call of the admin needs a token`)
        continue
      }
      for (const headers of [{}, bearer(revoked.token)])
        t.equal(await call(headers), 401, `${operationId}: ${JSON.stringify(headers)}`)
      t.equal(await call({}, `?token=${TOKEN}`), 401, `${operationId}: a token in the URL`)
      const [, needed] = /Scope: `([^`]+)`/.exec(description) ?? []
      for (const [scope, token] of tokens) {
        const status = await call(bearer(token))
        if (needed === undefined || needed === scope)
          t.notOk([401, 403].includes(status), `${operationId}: ${scope}`)
        else {
          t.equal(status, 403, `${operationId}: ${scope}`)
          refused++
        }
      }
      const { items } = (
        await app.inject({ url: `/admin/audit?action=${operationId}&limit=500`, headers: admin })
      ).json()
      if (method !== 'GET')
        t.ok(
          items.length >= (needed ? scopes.length : 1),
          `${operationId} is in the audit log: ${items.length}`,
        )
      if (needed)
        t.equal(items.filter((each: { status: number }) => each.status === 403).length, scopes.length - 1)
    }
    t.ok(refused > 80)
  },
)

t.test('nobody can give a token more scopes than its own', async (t) => {
  const app = await build(t)
  const operator = await makeToken(app, ['operate', 'stats:read'])
  const reader = await makeToken(app, ['images:read'])
  const more = await makeToken(app, ['images:read'], bearer(operator.token))
  isProblem(t, more.answer, 403, 'missing-scope', /images:read/)
  const rotated = await app.inject({
    method: 'POST',
    url: `/admin/tokens/${reader.id}/rotate`,
    headers: bearer(operator.token),
  })
  isProblem(t, rotated, 403, 'missing-scope', /images:read/)
  t.equal((await makeToken(app, ['stats:read'], bearer(operator.token))).answer.statusCode, 201)
})

t.test('a rotated or revoked token ends at once', async (t) => {
  const app = await build(t)
  const { id, token } = await makeToken(app, ['stats:read'])
  const ask = async (secret: string) =>
    (await app.inject({ url: '/admin/stats', headers: bearer(secret) })).statusCode
  const call = (method: 'POST' | 'DELETE', path: string) =>
    app.inject({ method, url: `/admin/tokens/${path}`, headers: admin })
  t.equal(await ask(token), 200)
  const next = (await call('POST', `${id}/rotate`)).json().token
  t.strictSame([await ask(token), await ask(next)], [401, 200])

  t.equal((await call('DELETE', id)).statusCode, 204)
  t.equal((await call('DELETE', id)).statusCode, 204, 'a second time')
  t.equal(await ask(next), 401)
  isProblem(t, await call('POST', `${id}/rotate`), 410, 'token-revoked')
  isProblem(t, await call('DELETE', 'x'.repeat(48)), 404, 'token-not-found')
  const { items } = (await app.inject({ url: '/admin/tokens', headers: admin })).json()
  t.match(items, [{ id, name: 'clerk', scopes: ['stats:read'], createdBy: 'root', revokedAt: String }])
})

t.test('a token needs a name of one plain line and known scopes', async (t) => {
  const app = await build(t)
  for (const [name, scopes] of [
    ['', ['operate']],
    ['=1+1', ['operate']],
    ['a\nb', ['operate']],
    ['a'.repeat(65), ['operate']],
    ['a', []],
    ['a', ['everything']],
    ['a', ['operate', 'operate']],
  ] as [string, string[]][])
    isProblem(t, (await makeToken(app, scopes, admin, name)).answer, 400, 'invalid-request')
})

t.test('the audit log has who did what, when, from where, and how it ended', async (t) => {
  const app = await build(t)
  const clerk = await makeToken(app, ['links:write', 'images:read'])
  const { id } = (
    await app.inject({
      method: 'POST',
      url: '/admin/ephemeral-links',
      headers: bearer(clerk.token),
      remoteAddress: '192.0.2.7',
      body: { sinceNow: 'PT1H', label: 'the secret wedding' },
    })
  )
    .json()
    .relativePath.match(/(?<id>\w{48})/).groups
  const send = (method: 'GET' | 'DELETE', url: string) =>
    app.inject({ method, url, headers: bearer(clerk.token), remoteAddress: '192.0.2.7' })
  await send('GET', '/admin/images')
  await send('DELETE', `/admin/ephemeral-links/${id}`)
  await send('DELETE', `/admin/images/${'x'.repeat(48)}`)
  await send('GET', `/admin/images/${'x'.repeat(48)}/content`)
  await send('DELETE', '/admin/ephemeral-links/%00')
  await app.inject({ method: 'DELETE', url: `/admin/ephemeral-links/${id}` })

  const read = async (query: string) =>
    (await app.inject({ url: `/admin/audit${query}`, headers: admin })).json()
  const by = { actor: 'clerk', tokenId: clerk.id, address: '192.0.2.7' }
  const { items } = await read('?actor=clerk')
  t.match(items, [
    { ...by, action: 'revokeLink', target: '?', status: 404 },
    { ...by, action: 'getImageContent', target: 'x'.repeat(48), status: 404 },
    { ...by, action: 'removeImage', status: 403 },
    { ...by, action: 'revokeLink', target: id, status: 204 },
    { ...by, action: 'createLink', target: id, status: 201, detail: '{"fields":["sinceNow","label"]}' },
  ])
  t.equal(items.length, 5, 'a list and a request without a token are no actions')
  t.ok(Date.now() - Date.parse(items[0].at) < 60_000)
  t.notMatch(JSON.stringify(await read('')), /wedding|hasty_/, 'without values and secrets')

  t.match((await read('?action=createToken')).items, [{ actor: 'root', target: clerk.id, status: 201 }])
  t.same((await read('?to=2026-01-01T00:00:00Z')).items, [])
  const first = await read('?limit=2')
  t.equal(first.items.length, 2)
  const second = await read(`?limit=500&cursor=${first.nextCursor}`)
  t.same([...first.items, ...second.items].length, 6)
  isProblem(t, await app.inject({ url: '/admin/audit?cursor=x', headers: admin }), 400, 'invalid-cursor')
  for (const url of ['/admin/audit?', '/admin/audit/export?'])
    for (const query of [
      'from=0000-01-01T00:00:00Z',
      'to=0001-01-01T00:00:00%2B01:00',
      'to=9999-12-31T23:59:59-01:00',
    ])
      isProblem(t, await app.inject({ url: url + query, headers: admin }), 400, 'invalid-request')

  const download = (query: string) => app.inject({ url: `/admin/audit/export${query}`, headers: admin })
  const lines = (await download('?actor=clerk')).body.trim().split('\n')
  t.same(
    lines.map((line) => JSON.parse(line)),
    items,
  )
  const csv = await download('?actor=clerk&format=csv')
  t.match(csv.headers['content-type'], /^text\/csv/)
  t.match(csv.headers['content-disposition'], /hasty-audit\.csv/)
  const rows = csv.body.split('\r\n')
  t.equal(rows[0], 'at,actor,tokenId,action,target,detail,address,status,id')
  t.match(rows[5], /,clerk,\w+,createLink,\w+,"\{""fields"":\[""sinceNow"",""label""\]\}",192\.0\.2\.7,201,/)
  t.match((await read('?action=exportAudit')).items, [{ status: 200, detail: /csv/ }, { status: 200 }])
})

t.test(
  'an action is answered although the audit log cannot be written, and the log of the process has it',
  async (t) => {
    const lines: object[] = []
    const app = await build(t, { LOG_LEVEL: 'error' }, undefined, lines)
    await app.stores.data.sql`alter table audit rename to gone`
    t.match(await makeLink(app), /^\/uploads\//)
    t.match(lines, [{ msg: /audit log/, actor: 'root', action: 'createLink', status: 201 }])
    t.notMatch(JSON.stringify(lines), TOKEN)
    await app.stores.data.sql`alter table gone rename to audit`
  },
)
