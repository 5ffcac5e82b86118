import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { admin, TOKEN } from '../helpers/app.ts'
import {
  capture,
  desktop,
  movingRules,
  noBrowser,
  openPage,
  overlaps,
  phone,
  startBrowser,
  violations,
} from '../helpers/browser.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { post, startServer } from '../helpers/server.ts'

const SAMPLES = fileURLToPath(new URL('../../../shared/samples', import.meta.url))
const PHOTOGRAPHS = ['jpg_gps_DSCN0021.jpg', 'jpg_Pentax_K10D.jpg', 'heic_IMG_5195.HEIC']
const DAMAGED = 'ft_fixture_fixture-corrupt.png'
const MOST_TRANSFERRED = 250_000

/** Chromium writes a line for each response with an error, also for one that the page expects: a wrong token. */
const isExpected = (text: string) => /status of 401/.test(text)

async function signIn(page: Page) {
  await page.getByLabel('Access token').fill(TOKEN)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Links' }).waitFor()
}

/** Waits until an expression is true. The page's policy forbids the evaluation of a text by its own scripts. */
async function until(page: Page, expression: string) {
  while (!(await page.evaluate<boolean>(expression))) await page.waitForTimeout(50)
}

/** A state breaks no rule of axe in either theme, and is not wider than the screen. Its pictures are stored. */
async function check(t: Test, page: Page, name: string, { withAxe = true } = {}) {
  await until(
    page,
    '[...document.images].every((each) => each.complete || each.getBoundingClientRect().top > innerHeight)',
  )
  if (withAxe) t.strictSame(await violations(page), [], `${name}: axe`)
  t.equal(await overflowOf(page), 0, `${name}: not wider than the screen`)
  await capture(page, `console-${name}`)
}

const overflowOf = (page: Page) =>
  page.evaluate<number>('Math.max(0, document.documentElement.scrollWidth - innerWidth)')

/** Photographs with a camera and a place, a damaged file, and generated pictures. */
async function fill(link: string) {
  for (const name of [...PHOTOGRAPHS, DAMAGED].filter((name) => existsSync(join(SAMPLES, name)))) {
    const form = new FormData()
    form.append('sender', 'Ada')
    form.append('message', 'From the second camera')
    form.append('image', new Blob([readFileSync(join(SAMPLES, name))]), name)
    await fetch(link, { method: 'POST', body: form })
  }
  for (let n = 0; n < 8; n++) await post(link, await makeImage('jpeg'))
  const hostile = new FormData()
  hostile.append('sender', '<img src=x onerror=alert(1)>\u202e')
  hostile.append('message', '</p><script>alert(2)</script>')
  hostile.append('image', new Blob([await makeImage('jpeg')]), '<svg onload=alert(3)>.jpg')
  await fetch(link, { method: 'POST', body: hostile })
}

t.test('the console', { skip: noBrowser, timeout: 240_000 }, async (t) => {
  const server = await startServer(t, { DATA_DIR: newFolder(t), WORKER_PROCESSES: '1' }, { database: 'lent' })
  const { url } = server
  const browser = await startBrowser(t)
  const open = (options: BrowserContextOptions = desktop) =>
    openPage(browser, `${url}/admin`, { options: { locale: 'en-GB', ...options }, isExpected })
  const read = async (path: string) =>
    (await (await fetch(`${url}/admin/${path}`, { headers: admin })).json()) as { items: { id: string }[] }

  const operation = async () =>
    (await (await fetch(`${url}/admin/operation`, { headers: admin })).json()) as {
      queue: { waiting: number }
    }

  await t.test(
    'an admin signs in, creates a link, sees a picture arrive, removes it, and signs out',
    async (t) => {
      const { page, faults, context } = await open()
      await page.getByLabel('Access token').fill('a-wrong-token')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByText('This token is not valid.').waitFor()
      await check(t, page, 'wrong-token')
      await signIn(page)
      await page.getByText('No links yet.').waitFor()
      await check(t, page, 'no-links')

      await page.getByRole('button', { name: 'New link' }).click()
      await page.getByLabel('Title').fill('Wedding <b>of Ada</b>')
      await page.getByLabel('Description').fill('Please send us your pictures.')
      await page.getByText('More options').click()
      await page.getByLabel('Maximum number of pictures').fill('500')
      await page.getByLabel('JPEG').check()
      await check(t, page, 'new-link')
      await page.getByRole('button', { name: 'Create link' }).click()
      await page.getByRole('heading', { name: 'Wedding <b>of Ada</b>' }).waitFor()
      const link = await page.locator('.url').innerText()
      t.match(link, new RegExp(`^${url}/uploads/[0-9A-Za-z]{48}$`))
      await page.getByText('No pictures have arrived yet.').waitFor()

      const { id } = await post(link, await makeImage('jpeg'))
      await page.locator(`a[href="#/images/${id}"]`).waitFor()
      const [archive] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('link', { name: 'Download all as ZIP' }).click(),
      ])
      t.match(archive.suggestedFilename(), /\.zip$/)
      await page.getByRole('button', { name: 'Extend' }).click()
      await check(t, page, 'extend')
      await page.getByRole('dialog').getByRole('button', { name: 'Extend' }).click()
      await page.getByRole('dialog').waitFor({ state: 'detached' })

      await page.locator(`a[href="#/images/${id}"]`).click()
      await page.getByRole('button', { name: 'Remove' }).click()
      await check(t, page, 'remove')
      await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
      await page.getByRole('heading', { name: 'Pictures' }).waitFor()
      t.equal((await fetch(`${url}/images/${id}`)).status, 410, 'the picture is removed')

      t.equal((await context.cookies())[0]?.httpOnly, true)
      const stored = await page.evaluate<string>(
        'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])',
      )
      t.notMatch(stored, TOKEN)
      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.getByRole('heading', { name: 'Sign in' }).waitFor()
      t.strictSame(await context.cookies(), [])
      t.strictSame(faults, [])
      await context.close()
    },
  )

  const link = await server.makeLink()
  await fill(link)
  // A small file is ready before it was decoded. A variant of a damaged one is refused with 422 until the worker has found that.
  while ((await operation()).queue.waiting > 0) await setTimeout(100)
  const linkId = link.split('/').at(-1)
  const [placed] = (await read('images?bbox=-180,-90,180,90')).items
  const [newest] = (await read('images?limit=1')).items
  const views: [name: string, hash: string, heading: string][] = [
    ['links', '#/links', 'Links'],
    ['link', `#/links/${linkId}`, 'Uploads'],
    ['gallery', '#/images', 'Pictures'],
    ['image', `#/images/${(placed ?? newest)!.id}`, 'Details'],
    ['statistics', '#/statistics', 'Statistics'],
    ['operation', '#/operation', 'Operation'],
  ]

  for (const [size, options] of Object.entries({ desktop, phone })) {
    await t.test(`every view is accessible and fits the screen: ${size}`, async (t) => {
      // Both sizes have the same elements. On a desktop, only the gallery has other rules, for the mouse.
      const wanted = (name: string) => ({ withAxe: size === 'phone' || name === 'gallery' })
      const { page, faults, context } = await open(options)
      await check(t, page, `sign-in-${size}`, wanted('sign-in'))
      await signIn(page)
      for (const [name, hash, heading] of views) {
        await page.goto(`${url}/admin${hash}`)
        await page.getByRole('heading', { name: heading, exact: true }).first().waitFor()
        await check(t, page, `${name}-${size}`, wanted(name))
        if (name === 'link') {
          await page.getByText('<svg onload=alert(3)>.jpg').waitFor()
          t.equal(await page.locator('[onerror], [onload], main script').count(), 0, 'names are no markup')
        }
        if (name !== 'gallery') continue
        await page.getByRole('button', { name: 'Filter' }).click()
        await check(t, page, `filter-${size}`, wanted('filter'))
        const boxes = page.getByRole('checkbox')
        for (const n of [0, 1]) await boxes.nth(n).check()
        await page.getByRole('heading', { name: '2 selected' }).waitFor()
        await check(t, page, `selection-${size}`, wanted('gallery'))
      }
      t.strictSame(faults, [])
      await context.close()
    })
  }

  await t.test('the filters find pictures, and the selected ones are removed', async (t) => {
    const { page, faults, context } = await open()
    await signIn(page)
    await page.goto(`${url}/admin#/images`)
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.locator('#known-formats option[value=JPEG]').waitFor({ state: 'attached' })
    await page.locator('#known-links option').first().waitFor({ state: 'attached' })
    await page.getByLabel('Format').fill('JPEG')
    await page.getByRole('form', { name: 'Filter' }).getByRole('button', { name: 'Filter' }).click()
    await page.waitForURL(/format=JPEG/)
    const before = (await read('images?format=JPEG&removed=false&limit=100')).items
    await until(page, `document.querySelectorAll('.cell a').length === ${before.length}`)
    for (const n of [0, 1]) await page.getByRole('checkbox').nth(n).check()
    await page.getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByText('2 pictures removed').waitFor()
    const after = (await read('images?format=JPEG&removed=false&limit=100')).items.map(({ id }) => id)
    t.strictSame(
      after,
      before.slice(2).map(({ id }) => id),
    )
    t.strictSame(faults, [])
    await context.close()
  })

  await t.test('"Copy link" copies or selects the link where the browser has no clipboard', async (t) => {
    const { page, context } = await open()
    await signIn(page)
    // Over plain HTTP, a browser has no `navigator.clipboard`.
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await page.evaluate(`location.assign('#/links/${linkId}')`)
    await page.getByRole('button', { name: 'Copy link' }).click()
    await page.getByText(/^(Copied|The link is selected)/).waitFor()
    t.equal(await page.evaluate('getSelection().toString()'), link)
    await context.close()
  })

  await t.test('the console is German for a German browser, and fits 320 pixels', async (t) => {
    const { page, faults, context } = await open({
      ...phone,
      viewport: { width: 320, height: 640 },
      locale: 'de-DE',
    })
    await page.getByLabel('Zugangs-Token').fill(TOKEN)
    await page.getByRole('button', { name: 'Anmelden' }).click()
    for (const [name, hash] of views) {
      await page.goto(`${url}/admin${hash}`)
      await page.locator('main h1').waitFor()
      t.equal(await overflowOf(page), 0, name)
    }
    await page.getByRole('heading', { name: 'Betrieb' }).waitFor()
    t.strictSame(faults, [])
    await context.close()
  })

  await t.test('with 200 % zoom, from right to left and without motion, nothing overlaps', async (t) => {
    // Zoom halves the pixels of the style sheet, and doubles those of the screen.
    const zoomed = { ...desktop, viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 }
    const { page, faults, context } = await open(zoomed)
    await signIn(page)
    t.ok((await movingRules(page)).length > 0, 'something moves')
    await page.emulateMedia({ reducedMotion: 'reduce' })
    t.strictSame(await movingRules(page), [], 'nothing moves for people who want less motion')
    for (const [name, hash, heading] of views) {
      await page.goto(`${url}/admin${hash}`)
      await page.getByRole('heading', { name: heading, exact: true }).first().waitFor()
      for (const [direction, size] of [
        ['rtl', '100%'],
        ['ltr', '100%'],
        // A browser can enlarge the letters alone.
        ['ltr', '200%'],
      ]) {
        await page.evaluate(`document.documentElement.dir = '${direction}'`)
        await page.evaluate(`document.documentElement.style.fontSize = '${size}'`)
        t.equal(await overflowOf(page), 0, `${name} ${direction} ${size}`)
        t.strictSame(await overlaps(page), [], `${name} ${direction} ${size}`)
      }
    }
    await page.evaluate("document.documentElement.style.fontSize = ''")
    await page.evaluate("document.documentElement.dir = 'rtl'")
    await page.goto(`${url}/admin#/links/${linkId}`)
    await page.getByRole('heading', { name: 'Uploads' }).waitFor()
    await check(t, page, 'link-rtl')
    t.strictSame(faults, [])
    await context.close()
  })

  await t.test(`the console transfers at most ${MOST_TRANSFERRED} bytes, without pictures`, async (t) => {
    const { page, context } = await open()
    const client = await context.newCDPSession(page)
    await client.send('Network.enable')
    const urls = new Map<string, string>()
    let bytes = 0
    client.on('Network.responseReceived', ({ requestId, response }) => urls.set(requestId, response.url))
    client.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
      if (/\/(admin|assets\/.*)$/.test(urls.get(requestId) ?? '')) bytes += encodedDataLength
    })
    await client.send('Network.setCacheDisabled', { cacheDisabled: true })
    await page.reload()
    await signIn(page)
    for (const [, hash, heading] of views) {
      await page.goto(`${url}/admin${hash}`)
      await page.getByRole('heading', { name: heading, exact: true }).first().waitFor()
    }
    t.comment(`${bytes} bytes`)
    t.ok(bytes > 10_000 && bytes <= MOST_TRANSFERRED, `${bytes}`)
    await context.close()
  })
})
