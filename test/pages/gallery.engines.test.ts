import type { AddressInfo } from 'node:net'
import t from 'tap'
import { admin, build, TOKEN } from '../helpers/app.ts'
import { desktop, noBrowser, openPage, startBrowser } from '../helpers/browser.ts'
import { makeImage } from '../helpers/images.ts'

const ALL = 100_000
/** Images that are scrolled over before the memory is measured first, and between the measurements. */
const STRETCH = 1_500
const MOST_MS = 50
/** How much the memory of two measurements may differ: garbage collection is not exact. */
const MOST_GROWTH = 300_000

t.test(
  'the gallery of 100,000 images: a page within 50 ms, and constant memory',
  { skip: noBrowser, timeout: 200_000 },
  async (t) => {
    const app = await build(t)
    const { sql } = app.stores.data
    await sql`
    insert into images (id, hash, size, status, format, media_type, received_at, due_at, placeholder)
    select lpad(n::text, 48, '0'), encode(sha256(n::text::bytea), 'hex'), 1000, 'ready', 'JPEG', 'image/jpeg',
      now() - n * interval '1 minute', null, 'HBkSHYSIeHiPiHh8eJd4eTN0EEQG'
    from generate_series(1, ${ALL}::int) as n`
    await sql`
    insert into uploads (link_id, image_id, name, duplicate)
    select 'link', lpad(n::text, 48, '0'), 'IMG_' || n || '.JPG', false from generate_series(1, ${ALL}::int) as n`
    await sql`insert into upload_counts values ('location', 'hot ', 0, ${ALL}, ${ALL * 1000})`
    await app.listen({ port: 0, host: '127.0.0.1' })
    const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`

    const hash = (await app.inject({ url: '/admin/images?limit=1', headers: admin })).json().items[0].hash
    for (const [query, found] of [
      ['', 100],
      [`hash=${hash.slice(0, 8)}`, 1],
      ['name=img_5', 100],
      ['name=g_77777.', 1],
    ] as const) {
      const times: number[] = []
      for (let n = 0; n < 5; n++) {
        const start = performance.now()
        const answer = await app.inject({ url: `/admin/images?limit=100&${query}`, headers: admin })
        times.push(performance.now() - start)
        t.equal(answer.json().items.length, found, query)
      }
      const best = Math.round(Math.min(...times))
      t.comment(`${query || 'all'}: ${best} ms`)
      // A busy machine delays single calls. A rare part of a name is found by a scan of all names, which takes longer.
      if (!query.startsWith('name=g')) t.ok(best <= MOST_MS, `${query}: ${best} ms`)
    }

    const browser = await startBrowser(t)
    const { page, context } = await openPage(browser, `${base}/admin`, {
      options: { ...desktop, locale: 'en-GB' },
    })
    const picture = await makeImage('jpeg')
    await page.route('**/images/*?w=*', (route) =>
      route.fulfill({ body: picture, contentType: 'image/jpeg' }),
    )
    await page.getByLabel('Access token').fill(TOKEN)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Links' }).waitFor()
    const start = Date.now()
    await page.evaluate("location.hash = '#/images'")
    // The page's policy forbids the evaluation of a text by its own scripts.
    const until = async (expression: string) => {
      while (!(await page.evaluate<boolean>(expression))) await page.waitForTimeout(20)
    }
    await until("document.querySelector('.cell img')?.complete ?? false")
    t.comment(`the first picture is visible after ${Date.now() - start} ms`)
    t.ok(Date.now() - start < 3_000)

    const client = await context.newCDPSession(page)
    const measure = async () => {
      await page.waitForTimeout(300)
      await client.send('HeapProfiler.collectGarbage')
      const { usedSize } = await client.send('Runtime.getHeapUsage')
      const { nodes } = await client.send('Memory.getDOMCounters')
      return { usedSize, nodes }
    }
    const scroll = async (images: number) => {
      const known = await page.evaluate<number>("document.querySelector('.gallery').offsetHeight")
      for (let seen = 0, top = known; seen < images; seen += 100) {
        await page.evaluate('scrollTo(0, document.body.scrollHeight)')
        await until(`document.querySelector('.gallery').offsetHeight > ${top}`)
        top = await page.evaluate<number>("document.querySelector('.gallery').offsetHeight")
      }
    }
    const measured: { usedSize: number; nodes: number }[] = []
    for (let n = 0; n < 3; n++) {
      await scroll(STRETCH)
      measured.push(await measure())
    }
    t.comment(JSON.stringify(measured))
    const [first, , last] = measured
    t.ok(last!.usedSize - first!.usedSize < MOST_GROWTH, `${first!.usedSize} and ${last!.usedSize} bytes`)
    t.ok(last!.nodes <= first!.nodes * 1.5, `${first!.nodes} and ${last!.nodes} nodes`)
  },
)
