import { brotliDecompressSync } from 'node:zlib'
import t from 'tap'
import { build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'

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

t.test('without JavaScript, the form of the upload page gets its result as a page', async (t) => {
  const link = {
    sinceNow: 'PT1H',
    label: '<b>Party</b> & "more"',
    description: "It's\nfun",
    askSender: 'optional',
  }
  const path = await makeLink(app, link)
  const page = await app.inject({ url: path, headers: browser })
  t.equal(page.statusCode, 200)
  t.match(page.body, '<h1 dir="auto">&lt;b&gt;Party&lt;/b&gt; &amp; &quot;more&quot;</h1>')
  t.notMatch(page.body, '<b>Party')
  t.match(page.body, `action="${path.slice('/uploads/'.length)}" enctype="multipart/form-data"`)
  for (const name of ['sender', 'message', 'image']) t.match(page.body, `name="${name}"`)

  const send = async (name: string, body: Buffer | string) => {
    const { headers, payload } = multipart([{ filename: name, body }])
    return app.inject({ method: 'POST', url: path, headers: { ...headers, ...browser }, payload })
  }
  t.match(await send('a.png', await makeImage()), {
    statusCode: 200,
    body: /Done\. You can close this page\./,
  })
  const refused = await send('<i>notes.txt', 'no picture')
  t.match(refused, {
    statusCode: 415,
    headers: { 'content-type': /^text\/html/ },
    body: /No picture was accepted/,
  })
  t.match(refused.body, '&lt;i&gt;notes.txt')
})

t.test('a label that is a word of the template is only a label', async (t) => {
  for (const label of ['STYLE', '<style>', '</style>']) {
    const url = await makeLink(app, { sinceNow: 'PT1H', label })
    const { body } = await app.inject({ url, headers: browser })
    const escaped = label.replace('<', '&lt;').replace('>', '&gt;')
    t.match(body, `<title>${escaped}</title>`)
    t.equal(body.split('<style>').length, 2)
    t.match(body, /<style>\S*:root/)
  }
})

t.test('a link that is not open is a page with the right status', async (t) => {
  const opensOn = new Date(Date.now() + 60_000).toISOString()
  const later = await makeLink(app, { sinceNow: 'PT1H', opensOn })
  const full = await makeLink(app, { sinceNow: 'PT1H', maxImages: 1 })
  const { headers, payload } = multipart([{ body: await makeImage() }])
  await app.inject({ method: 'POST', url: full, headers, payload })
  const expected = {
    [later]: [403, 'This link is not open yet'],
    [full]: [410, 'This link is full'],
    '/uploads/unknown': [404, 'This link does not exist'],
  } as const
  for (const [url, [statusCode, title]] of Object.entries(expected))
    t.match(await app.inject({ url, headers: browser }), { statusCode, body: title }, title)
})
