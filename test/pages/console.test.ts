import t from 'tap'
import { createPages, PAGE } from '../../web/console/pages.ts'
import { build } from '../helpers/app.ts'
import { isProblem } from '../helpers/problem.ts'

const browser = { accept: 'text/html,*/*;q=0.8' }

t.test('the console is a page for a browser, and it needs no token before sign-in', async (t) => {
  const app = await build(t)
  const { statusCode, headers, body } = await app.inject({ url: '/admin', headers: browser })
  t.equal(statusCode, 200)
  t.match(headers['content-security-policy'], "require-trusted-types-for 'script'")
  t.notMatch(headers['content-security-policy'], 'unsafe')
  t.match(body, '<div id="app">')
  t.match((await app.inject({ url: '/admin/', headers: browser })).headers.location, '../admin')
  isProblem(t, await app.inject('/admin'), 404, 'not-found')
  const german = await app.inject({ url: '/admin', headers: { ...browser, 'accept-language': 'de' } })
  t.match(german.body, '<html lang="de"')
})

t.test('ADMIN_PAGES=false: there is no console', async (t) => {
  const app = await build(t, { ADMIN_PAGES: 'false' })
  t.equal((await app.inject({ url: '/admin', headers: browser })).statusCode, 404)
})

t.test('the gallery keeps few pages of 100,000 images, and reads the others again', async (t) => {
  const ALL = 100_000
  let reads = 0
  const pages = createPages(async (cursor) => {
    reads++
    const start = Number(cursor ?? 0)
    const items = Array.from({ length: PAGE }, (_, n) => ({ id: String(start + n) })) as never[]
    return { items, ...(start + PAGE < ALL && { nextCursor: String(start + PAGE) }) }
  })
  for (let at = 0; at < ALL; at += PAGE / 2) await pages.require(at, at + PAGE)
  t.equal(pages.count, ALL)
  t.ok(pages.isComplete)
  t.equal(reads, ALL / PAGE, 'each page was read once')
  const kept = pages.slice(0, ALL).filter(({ image }) => image)
  t.ok(kept.length <= 8 * PAGE, `${kept.length} images are kept`)
  await pages.require(200, 260)
  t.match(pages.slice(200, 202), [{ image: { id: '200' } }, { image: { id: '201' } }])
})
