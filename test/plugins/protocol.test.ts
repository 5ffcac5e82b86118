import t from 'tap'
import { admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

const app = await build(t)
const link = await makeLink(app)
const id = link.replace('/uploads/', '')

t.test('a wrong method on a known path gets 405 with Allow', async (t) => {
  for (const [method, url, allow] of [
    ['PUT', link, 'POST'],
    ['DELETE', '/images/x', 'GET, HEAD'],
    ['POST', '/livez', 'GET, HEAD'],
    ['PUT', '/admin/stats?x=1', 'GET, HEAD'],
    ['PATCH', '/openapi.json', 'GET, HEAD'],
    ['OPTIONS', '/metrics', 'GET, HEAD'],
  ] as const) {
    const answer = await app.inject({ method, url })
    isProblem(t, answer, 405, 'method-not-allowed', /GET|POST/, url)
    const allowed = String(answer.headers.allow).split(', ')
    for (const each of allow.split(', ')) t.ok(allowed.includes(each), `${url}: ${each} in ${allowed}`)
    t.notOk(allowed.includes(method))
  }
  for (const url of ['/nowhere', '/uploads', '/uploads/', `${link}/further`, '/imagesx/y'])
    isProblem(t, await app.inject({ method: 'PUT', url }), 404, 'not-found', /./, url)
})

t.test('a DELETE with a Content-Type and no body is accepted', async (t) => {
  for (const type of ['application/json', 'text/plain', 'nonsense']) {
    const made = await makeLink(app)
    const url = made.replace('/uploads/', '/admin/ephemeral-links/')
    for (const length of [{}, { 'content-length': '0' }]) {
      const answer = await app.inject({
        method: 'DELETE',
        url,
        headers: { ...admin, 'content-type': type, ...length },
      })
      t.ok(answer.statusCode < 300, `${type} ${JSON.stringify(length)}: ${answer.statusCode}`)
    }
  }
})

t.test('a compressed body gets 415 with Accept-Encoding', async (t) => {
  for (const coding of ['gzip', 'br', 'GZIP', 'gzip, gzip', 'x']) {
    for (const [url, type, body] of [
      [link, multipart([]).headers['content-type'], multipart([{ body: await makeImage() }]).payload],
      ['/admin/ephemeral-links', 'application/json', Buffer.from('{"sinceNow":"PT1H"}')],
    ] as const) {
      const answer = await app.inject({
        method: 'POST',
        url,
        headers: { ...admin, 'content-type': type, 'content-encoding': coding },
        payload: body,
      })
      isProblem(t, answer, 415, 'unsupported-content-encoding', /compression/, `${url} ${coding}`)
      t.equal(answer.headers['accept-encoding'], 'identity')
    }
  }
  const plain = await app.inject({
    method: 'POST',
    url: '/admin/ephemeral-links',
    headers: { ...admin, 'content-encoding': 'identity' },
    body: { sinceNow: 'PT1H' },
  })
  t.equal(plain.statusCode, 201)
})

t.test('no cache keeps an admin response or a problem', async (t) => {
  for (const url of [
    '/admin/stats',
    `/admin/ephemeral-links/${id}`,
    '/admin/images',
    '/nowhere',
    '/images/x',
  ]) {
    const answer = await app.inject({ url, headers: admin })
    t.equal(answer.headers['cache-control'], 'no-store', url)
  }
  t.equal((await app.inject('/admin/stats')).headers['cache-control'], 'no-store', 'without a token')
})
