import t from 'tap'
import { admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'

const ALLOWED = 'https://app.example'
const app = await build(t, {
  CORS_ORIGIN: `${ALLOWED}, http://127.0.0.1:8080`,
  PUBLIC_URL: 'https://images.example',
})
const link = await makeLink(app)
const body = await makeImage()
const upload = { method: 'POST' as const, url: link, ...multipart([{ body }]) }
const image = `/images/${(await app.inject(upload)).json().processed[0].id}`

const preflight = (url: string, origin: string, method: string) =>
  app.inject({
    method: 'OPTIONS',
    url,
    headers: {
      origin,
      'access-control-request-method': method,
      'access-control-request-headers': 'content-type',
    },
  })
const allowed = 'access-control-allow-origin'

t.test('only pages of the allowed origins can upload and read', async (t) => {
  for (const origin of [ALLOWED, 'http://127.0.0.1:8080']) {
    const posted = await app.inject({ ...upload, headers: { ...upload.headers, origin } })
    t.match(posted, { statusCode: 200, headers: { [allowed]: origin, vary: /Origin/ } })
    t.match(await app.inject({ url: image, headers: { origin } }), {
      statusCode: 200,
      headers: { [allowed]: origin },
    })
    t.match(await app.inject({ url: '/images/x', headers: { origin } }), {
      statusCode: 404,
      headers: { [allowed]: origin },
    })
    t.match(await preflight(link, origin, 'POST'), {
      statusCode: 204,
      headers: { [allowed]: origin, 'access-control-allow-methods': 'GET, HEAD, POST' },
    })
  }
  for (const origin of [
    'https://evil.example',
    `${ALLOWED}.evil.example`,
    'null',
    'https://app.example:8443',
  ]) {
    for (const request of [
      { ...upload, headers: { ...upload.headers, origin } },
      { url: image, headers: { origin } },
    ])
      t.notOk((await app.inject(request)).headers[allowed], origin)
    t.notOk((await preflight(link, origin, 'POST')).headers[allowed], origin)
  }
})

t.test("no page of another origin can send the admin's calls", async (t) => {
  for (const url of [
    '/admin/stats',
    '/admin/ephemeral-links',
    `/admin${image}`,
    '/metrics',
    '/openapi.json',
  ]) {
    const answer = await app.inject({ url, headers: { ...admin, origin: ALLOWED } })
    t.equal(answer.statusCode, 200, url)
    t.notOk(answer.headers[allowed], url)
    const asked = await preflight(url, ALLOWED, 'GET')
    t.equal(asked.statusCode, 405, url)
    t.notOk(asked.headers[allowed], url)
  }
})

t.test('no browser runs the content of a response', async (t) => {
  for (const url of [
    image,
    `/admin${image}`,
    `/admin${image}/content`,
    '/livez',
    '/images/x',
    '/nowhere',
    '/admin/stats',
  ]) {
    const { headers } = await app.inject({ url, headers: admin })
    t.equal(headers['x-content-type-options'], 'nosniff', url)
    t.equal(headers['x-powered-by'], undefined, url)
  }
  t.match((await app.inject(image)).headers['content-security-policy'], /default-src 'none'.*; sandbox/)
  t.match((await app.inject('/livez')).headers['content-security-policy'], /default-src 'none'/)
  const page = await app.inject('/docs')
  const policy = String(page.headers['content-security-policy'])
  t.match(policy, /script-src 'self'; /)
  t.match(policy, /connect-src 'self' https:\/\/images\.example;/)
  t.notMatch(page.body, /<script(?![^>]*\ssrc=)/, 'the page has no script of its own in it')
})

t.test('unless CORS_ORIGIN is set, no page of another origin reads anything', async (t) => {
  const closed = await build(t)
  const headers = { origin: ALLOWED, 'access-control-request-method': 'POST' }
  t.equal((await closed.inject({ method: 'OPTIONS', url: '/uploads/x', headers })).statusCode, 405)
  t.notOk((await closed.inject({ url: '/images/x', headers })).headers[allowed])
  const open = await build(t, { CORS_ORIGIN: '*' })
  t.equal((await open.inject({ url: '/images/x', headers })).headers[allowed], '*')
})
