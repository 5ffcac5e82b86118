import { brotliDecompressSync } from 'node:zlib'
import t from 'tap'
import { build } from '../helpers/app.ts'

// What Chromium and Firefox send when a person opens a URL.
const browser = {
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
}

const app = await build(t)

t.test(
  'a browser gets a page with the status of the error, and a program gets problem details',
  async (t) => {
    for (const url of ['/nowhere', '/images/unknown']) {
      const page = await app.inject({ url, headers: browser })
      t.match(page, {
        statusCode: 404,
        headers: { 'content-type': 'text/html; charset=utf-8', vary: /Accept/ },
      })
      for (const accept of [
        '*/*',
        'application/json',
        'application/problem+json',
        'application/json, text/html;q=0.5',
      ]) {
        const { statusCode, headers } = await app.inject({ url, headers: { accept } })
        t.match(
          { statusCode, headers },
          { statusCode: 404, headers: { 'content-type': /^application\/problem\+json/ } },
          accept,
        )
      }
      t.match(
        (await app.inject(url)).headers['content-type'],
        /^application\/problem\+json/,
        'without Accept',
      )
    }
  },
)

t.test('the root is a page for a browser, and unknown to a program', async (t) => {
  t.match(await app.inject({ url: '/', headers: browser }), {
    statusCode: 200,
    body: /Hasty collects pictures/,
  })
  t.equal((await app.inject('/')).statusCode, 404)
})

t.test('a page is in the language that the browser prefers, or else in English', async (t) => {
  const languages = {
    de: 'de',
    'de-AT,de;q=0.9,en;q=0.8': 'de',
    'en-GB,de;q=0.5': 'en',
    'fr-FR': 'en',
    '*': 'en',
  }
  for (const [wanted, language] of Object.entries(languages)) {
    const { body } = await app.inject({ url: '/', headers: { ...browser, 'accept-language': wanted } })
    t.match(body, `<html lang="${language}" dir="ltr">`, wanted)
  }
})

t.test('a page runs only its own scripts, and inserts no text as HTML', async (t) => {
  const { headers, body } = await app.inject({ url: '/', headers: browser })
  const policy = String(headers['content-security-policy'])
  t.match(policy, "default-src 'none'")
  t.match(policy, "require-trusted-types-for 'script'")
  t.match(policy, "frame-ancestors 'none'")
  t.notMatch(policy, /unsafe|https?:|\*/)
  t.notMatch(body, / (src|href)="(https?:)?\/\//, 'nothing from another host')
})

t.test('built files are compressed, and never change', async (t) => {
  const { body } = await app.inject({ url: '/a/b', headers: browser })
  const [, path = ''] = /href="\.\.\/(assets\/[^"]+)"/.exec(body) ?? []
  const { statusCode, headers, rawPayload } = await app.inject({
    url: `/${path}`,
    headers: { 'accept-encoding': 'gzip, br' },
  })
  t.equal(statusCode, 200)
  t.match(headers, {
    'cache-control': 'public, max-age=31536000, immutable',
    'content-encoding': 'br',
    'content-type': /^image\/svg/,
  })
  t.match(String(brotliDecompressSync(rawPayload)), '<svg')
  for (const url of [
    '/assets/../manifest.json',
    '/assets/%2e%2e/manifest.json',
    '/assets/',
    '/assets/nothing.js',
  ])
    t.not((await app.inject(url)).statusCode, 200, url)
})
