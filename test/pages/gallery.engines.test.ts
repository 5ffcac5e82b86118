import type { AddressInfo } from 'node:net'
import t from 'tap'
import { admin, build, TOKEN } from '../helpers/app.ts'
import { desktop, noBrowser, openPage, startBrowser } from '../helpers/browser.ts'
import { makeImage } from '../helpers/images.ts'

const ALL = 100_000
/** Images that are scrolled over before the memory is measured first, and between the measurements. */
const STRETCH = 1_500
/**
 * The limit on a machine that scans all names and all images in `SCAN_MS`. A slower or busy one gets more time: the machine on
 * which it was set takes 40 ms, so a search that takes 1.6 times the limit there fails.
 */
const MOST_MS = 50
const SCAN_MS = 25
/** The limit of filters that each match many images and together match none: both lists are read and joined. */
const MOST_OF_JOIN_MS = 150
const [RARE, OFTEN] = ['r'.repeat(48), 'o'.repeat(48)]
/** How much the memory of two measurements may differ: garbage collection is not exact. */
const MOST_GROWTH = 300_000

t.test(
  'the gallery of 100,000 images: a page within 50 ms, and constant memory',
  { skip: noBrowser, timeout: 200_000 },
  async (t) => {
    const app = await build(t)
    const { sql } = app.stores.data
    await sql`
    insert into images (
      id, hash, size, status, format, media_type, received_at, due_at, placeholder, camera_model, taken_at, latitude,
      longitude, damaged, object_fault
    )
    select lpad(n::text, 48, '0'), encode(sha256(n::text::bytea), 'hex'), 1000,
      case when n % 100 = 8 then 'corrupt' else 'ready' end, case when n % 1000 = 1 then 'AVIF' else 'JPEG' end,
      'image/jpeg', now() - n * interval '1 minute', null, 'HBkSHYSIeHiPiHh8eJd4eTN0EEQG', 'Model ' || n % 50,
      to_char(timestamp '2015-01-01' + n * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS'),
      (n * 7919::bigint) % 17957 / 100.0 - 90, (n * 6131::bigint) % 35969 / 100.0 - 180,
      case when n % 1000 = 11 then true end, case when n % 20000 = 12 then 'missing' end
    from generate_series(1, ${ALL}::int) as n`
    await sql`
    insert into uploads (link_id, image_id, name, search_name, duplicate, received_at)
    select case when n > 99990 then ${RARE} else ${OFTEN} end, lpad(n::text, 48, '0'), 'IMG_' || n || '.JPG',
      'img_' || n || '.jpg', false, now() - n * interval '1 minute' from generate_series(1, ${ALL}::int) as n`
    await sql`insert into upload_counts values ('location', 'hot ', 0, ${ALL}, ${ALL * 1000})`
    await app.listen({ port: 0, host: '127.0.0.1' })
    const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`

    const hash = (await app.inject({ url: '/admin/images?limit=1', headers: admin })).json().items[0].hash
    const cursorAt = (n: number) => {
      const [time, id] = [Date.now() - n * 60_000, '0'.repeat(48)]
      return Buffer.from(`${time}.${id}`).toString('base64url')
    }
    const [middle, end] = [cursorAt(ALL / 2), cursorAt(ALL - 20)]
    const scan = async () => {
      const start = performance.now()
      await sql`select count(*) from uploads where strpos(search_name, 'nobody') > 0`
      await sql`select count(*) from images where width < 0`
      return performance.now() - start
    }
    for (const [query, found, most = MOST_MS] of [
      ['', 100],
      [`cursor=${middle}`, 100],
      [`cursor=${end}`, undefined],
      ['removed=false', 100],
      [`hash=${hash.slice(0, 8)}`, 1],
      ['name=img_', 100],
      ['name=img_5', 100],
      ['name=img_5&bbox=-180,-90,0,90', 100],
      ['name=img_5&takenFrom=2016-05-01', 100],
      [`name=img_5&link=${OFTEN}`, 100],
      ['name=g_77777.', 1],
      ['name=nobody', 0],
      [`name=img_5&cursor=${middle}`, 100],
      ['status=corrupt', 100],
      [`status=ready&cursor=${middle}`, 100],
      ['format=AVIF', 100],
      [`format=JPEG&cursor=${middle}`, 100],
      ['cameraModel=Model%207', 100],
      [`link=${RARE}`, 10],
      [`link=${OFTEN}&cursor=${middle}`, 100],
      ['takenFrom=2016-05-01&takenTo=2016-05-03', 48],
      ['bbox=5,45,10,48', undefined],
      ['bbox=-180,-90,180,90', 100],
      ['damaged=true', 100],
      ['objectFault=missing', 5],
      ['receivedTo=2000-01-01T00:00:00Z', 0],
      [`link=${RARE}&format=JPEG`, 10],
      [`link=${RARE}&bbox=-180,-90,180,90`, 10],
      ['format=AVIF&name=img_5', undefined],
      ['name=img_9999&bbox=-180,-90,180,90', 11],
      [`status=corrupt&cameraModel=Model%208&cursor=${middle}`, 100],
      ['damaged=false&takenFrom=2014-01-01&takenTo=2015-01-01', 0],
      ['format=JPEG&bbox=-180,-90,0,0&takenTo=2020-01-01', 100],
      [`name=img_9&link=${OFTEN}&format=JPEG`, 100],
      ['name=img_9&takenFrom=2016-03-01&takenTo=2025-04-01', 0, MOST_OF_JOIN_MS],
      [`name=img_9&link=${OFTEN}&takenFrom=2016-03-01&takenTo=2025-04-01`, 0, MOST_OF_JOIN_MS],
    ] as [query: string, found?: number, most?: number][]) {
      let [took, scanned] = [Number.POSITIVE_INFINITY, 0]
      let items: unknown[] = []
      const isQuick = () => took <= most * Math.max(1, scanned / SCAN_MS)
      // Other work delays single calls.
      for (let attempt = 0; attempt < 10 && !isQuick(); attempt++) {
        scanned = await scan()
        const start = performance.now()
        const answer = await app.inject({ url: `/admin/images?limit=100&${query}`, headers: admin })
        took = performance.now() - start
        items = answer.json().items
      }
      const text = `${query || 'all'}: ${Math.round(took)} ms, and ${Math.round(scanned)} ms for the scans`
      t.comment(`${text}, ${items.length}`)
      if (found !== undefined) t.equal(items.length, found, query)
      t.ok(isQuick(), text)
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
