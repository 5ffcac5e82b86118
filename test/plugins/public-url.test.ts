import { createServer, request as forward } from 'node:http'
import type { AddressInfo } from 'node:net'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'

/** Builds the service behind a proxy that strips a path. PUBLIC_URL has the path. Returns the URL without a slash. */
async function buildBehindProxy(t: Test, path: string) {
  let backend = 0
  const proxy = createServer((request, response) => {
    if (!request.url!.startsWith(`${path}/`)) {
      response.writeHead(502).end()
      return
    }
    const { method, headers } = request
    const url = request.url!.slice(path.length)
    const forwarded = forward({ port: backend, path: url, method: method!, headers, agent: false })
    forwarded.once('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    forwarded.once('error', () => response.destroy())
    request.pipe(forwarded)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => proxy.close())
  const publicUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${path}`
  const app = await build(t, { PUBLIC_URL: `${publicUrl}/` })
  await app.listen({ port: 0 })
  backend = (app.server.address() as AddressInfo).port
  return { app, publicUrl }
}

/** Runs the script that starts the page at a URL, and returns the URL of the contract that the page reads. */
function contractUrlOf(script: string, pageUrl: string) {
  let contractUrl = ''
  // A browser resolves `href` in the same way.
  const document = { createElement: () => ({}), querySelector: () => null }
  class MutationObserver {
    observe() {}
  }
  const SwaggerUIBundle = Object.assign(
    ({ url }: { url: string }) => {
      contractUrl = new URL(url, pageUrl).href
      return { initOAuth: () => {} }
    },
    { presets: {}, plugins: {} },
  )
  const window: { location: object; onload?: () => void } = { location: { href: pageUrl } }
  runInNewContext(script, {
    window,
    document,
    MutationObserver,
    SwaggerUIBundle,
    SwaggerUIStandalonePreset: {},
  })
  window.onload!()
  return contractUrl
}

t.test('every link of the docs works below the path that a proxy strips', async (t) => {
  const { app, publicUrl } = await buildBehindProxy(t, '/drop')
  for (const path of [
    '/docs',
    '/docs/',
    '/docs?x=1',
    '/docs/?x=1',
    '/docs/static/index.html',
    '/docs/static/',
  ]) {
    const page = await fetch(publicUrl + path)
    t.equal(page.status, 200, path)
    t.match(page.headers.get('content-type'), /^text\/html/, path)
    const links = [...(await page.text()).matchAll(/ (?:href|src)="([^"]+)"/g)].map(([, link]) => link!)
    t.ok(links.length > 6, path)
    for (const link of links) {
      const url = new URL(link, page.url)
      const asset = await fetch(url)
      t.equal(asset.status, 200, `${path}: ${link}`)
      const text = await asset.text()
      if (!url.pathname.endsWith('/swagger-initializer.js')) continue
      const contractUrl = contractUrlOf(text, page.url)
      const contract = (await (await fetch(contractUrl)).json()) as { servers: object[] }
      t.strictSame(contract.servers, [{ url: publicUrl }], `${path}: ${contractUrl}`)
    }
  }
  const direct = await app.inject('/docs')
  t.match(direct.body, 'href="./docs/static/', 'the page also works without the proxy')
})

t.test('the URLs of a created link work below the path that a proxy strips', async (t) => {
  const { publicUrl } = await buildBehindProxy(t, '/a%20path/dr%C3%B6p')
  const created = await fetch(`${publicUrl}/admin/ephemeral-links`, {
    method: 'POST',
    headers: { ...admin, 'content-type': 'application/json' },
    body: '{"sinceNow":"PT1H"}',
  })
  t.equal(created.status, 201)
  const { url, relativePath } = (await created.json()) as { url: string; relativePath: string }
  t.equal(url, publicUrl + relativePath)

  const read = await fetch(created.headers.get('location')!, { headers: admin })
  t.match(await read.json(), { id: relativePath.slice('/uploads/'.length), status: 'open' })
  const { headers, payload } = multipart([{ body: await makeImage() }])
  t.equal((await fetch(url, { method: 'POST', headers, body: payload })).status, 200)

  const contract = (await (await fetch(`${publicUrl}/openapi.json`)).json()) as { servers: object[] }
  t.strictSame(contract.servers, [{ url: publicUrl }])
})

t.test('without PUBLIC_URL a created link has only the path', async (t) => {
  const app = await build(t)
  const created = await app.inject({
    method: 'POST',
    url: '/admin/ephemeral-links',
    headers: admin,
    body: { sinceNow: 'PT1H' },
  })
  t.notOk('url' in created.json())
  t.match(created.headers.location, /^\/admin\/ephemeral-links\//)
  t.match(await makeLink(app), /^\/uploads\//)
})
