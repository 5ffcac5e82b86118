import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AxeBuilder } from '@axe-core/playwright'
import { type Browser, chromium, type Page } from 'playwright-core'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { admin, TOKEN } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { post, startServer } from '../helpers/server.ts'

const CHROMIUM = '/usr/bin/chromium'
const SAMPLES = fileURLToPath(new URL('../../../shared/samples', import.meta.url))
/** Every state is stored here as a picture, to be looked at. */
const SHOTS = fileURLToPath(new URL('../../build/screenshots', import.meta.url))
const MOST_TRANSFERRED = 250_000

const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 740 } }
type Size = keyof typeof SIZES
type Theme = 'light' | 'dark'

const skip = existsSync(CHROMIUM) ? false : 'chromium is missing'

/** Opens a page of its own. A console error, a failed script and a request to another host are faults. */
async function open(
  browser: Browser,
  url: string,
  { size = 'desktop' as Size, theme = 'light' as Theme, locale = 'en-GB' } = {},
) {
  const context = await browser.newContext({
    viewport: SIZES[size],
    colorScheme: theme,
    locale,
    acceptDownloads: true,
    deviceScaleFactor: 1,
  })
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => {
    const { url: source } = message.location()
    // A browser reports each response with an error, also one that the page expects: not signed in, no picture.
    const isExpected = /status of (401|404|406|410|415)/.test(message.text())
    if (message.type() === 'error' && !isExpected) faults.push(`${message.text()} (${source})`)
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('request', (request) => {
    if (!/^(blob|data):/.test(request.url()) && new URL(request.url()).origin !== new URL(url).origin)
      faults.push(`a request to ${request.url()}`)
  })
  return { page, faults, context }
}

async function signIn(page: Page, url: string) {
  await page.goto(`${url}/admin`)
  await page.getByLabel('Access token').fill(TOKEN)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Links' }).waitFor()
}

async function check(t: Test, page: Page, name: string) {
  const { violations } = await new AxeBuilder({ page })
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
    .analyze()
  t.strictSame(
    violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`),
    [],
    `${name}: axe`,
  )
  const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
  t.ok(overflow <= 0, `${name}: is not wider than the screen (${overflow} px)`)
  mkdirSync(SHOTS, { recursive: true })
  await page.screenshot({ path: join(SHOTS, `console-${name}.png`) })
}

/** Photographs with a camera and a place, a file that is damaged, and generated pictures. */
async function fill(link: string) {
  const names = existsSync(SAMPLES)
    ? readdirSync(SAMPLES).filter((name) => /\.(jpg|heic|png|webp|gif|tif)$/i.test(name))
    : []
  for (const name of names) {
    const form = new FormData()
    form.append('sender', 'Ada')
    form.append('image', new Blob([readFileSync(join(SAMPLES, name))]), name)
    await fetch(link, { method: 'POST', body: form })
  }
  for (let n = 0; n < 24; n++) {
    const colour = { r: (n * 37) % 256, g: (n * 91) % 256, b: 120 }
    const body = await sharp({ create: { width: 640, height: 480, channels: 3, background: colour } })
      .jpeg()
      .toBuffer()
    await post(link, body)
  }
}

t.test('the console', { skip, timeout: 240_000 }, async (t) => {
  const server = await startServer(t, { DATA_DIR: newFolder(t), WORKER_PROCESSES: '1', LOG_LEVEL: 'warn' })
  const { url } = server
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())

  await t.test(
    'an admin signs in, creates a link, sees a picture arrive, removes it, and signs out',
    async (t) => {
      const { page, faults, context } = await open(browser, url)
      await page.goto(`${url}/admin`)
      await page.getByLabel('Access token').fill('a-wrong-token')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByText('This token is not valid.').waitFor()
      await check(t, page, 'sign-in-wrong')
      await signIn(page, url)
      await page.getByText('No links yet.').waitFor()
      await check(t, page, 'links-empty')

      await page.getByRole('button', { name: 'New link' }).click()
      await page.getByLabel('Title').fill('Wedding <b>of Ada</b>')
      await page.getByLabel('Description').fill('Please send us your pictures.')
      await page.getByText('More options').click()
      await page.getByLabel('Most pictures').fill('500')
      await check(t, page, 'new-link')
      await page.getByRole('button', { name: 'Create link' }).click()
      await page.getByRole('heading', { name: 'Wedding <b>of Ada</b>' }).waitFor()
      const link = await page.locator('.url').innerText()
      t.match(link, new RegExp(`^${url}/uploads/[0-9A-Za-z]{48}$`))
      await page.getByText('No pictures have arrived yet.').waitFor()

      const { id } = await post(link, await makeImage('jpeg'))
      await page.locator(`a[href="#/images/${id}"]`).waitFor({ timeout: 10_000 })
      await page.getByRole('button', { name: 'Extend' }).click()
      await check(t, page, 'extend')
      await page.getByRole('dialog').getByRole('button', { name: 'Extend' }).click()
      await page.getByRole('dialog').waitFor({ state: 'detached' })

      await page.locator(`a[href="#/images/${id}"]`).click()
      await page.getByRole('button', { name: 'Remove' }).click()
      await check(t, page, 'remove')
      await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
      await page.getByRole('heading', { name: 'Pictures' }).waitFor()
      const removed = await fetch(`${url}/images/${id}`)
      t.equal(removed.status, 410, 'the picture is removed')

      t.equal((await context.cookies())[0]?.httpOnly, true)
      const stored = await page.evaluate<string>(
        'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])',
      )
      t.notMatch(stored, TOKEN)
      t.notMatch(page.url(), TOKEN)
      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.getByRole('heading', { name: 'Sign in' }).waitFor()
      t.equal((await context.cookies()).length, 0)
      t.strictSame(faults, [])
      await context.close()
    },
  )

  const link = await server.makeLink()
  await fill(link)
  const { items } = (await (
    await fetch(`${url}/admin/images?bbox=-180,-90,180,90`, { headers: admin })
  ).json()) as {
    items: { id: string }[]
  }
  const linkId = link.split('/').at(-1)
  // The variants of the first screen are made now, and not while the pictures are taken.
  const first = (await (
    await fetch(`${url}/admin/images?limit=40`, { headers: admin })
  ).json()) as typeof items & {
    items: { id: string }[]
  }
  for (const { id } of first.items) await fetch(`${url}/images/${id}?w=320&h=320&fit=cover&format=auto`)
  const states: [name: string, hash: string, heading: string][] = [
    ['links', '#/links', 'Links'],
    ['link', `#/links/${linkId}`, 'Uploads'],
    ['gallery', '#/images', 'Pictures'],
    ['image', `#/images/${items[0]?.id ?? first.items[0]!.id}`, 'Details'],
    ['statistics', '#/statistics', 'Statistics'],
    ['operation', '#/operation', 'Operation'],
  ]

  for (const size of ['desktop', 'phone'] as const) {
    for (const theme of ['light', 'dark'] as const) {
      await t.test(`every page is accessible and fits: ${size}, ${theme}`, async (t) => {
        const { page, faults, context } = await open(browser, url, { size, theme })
        await page.goto(`${url}/admin`)
        await page.getByLabel('Access token').waitFor()
        await check(t, page, `sign-in-${size}-${theme}`)
        await signIn(page, url)
        for (const [name, hash, heading] of states) {
          await page.goto(`${url}/admin${hash}`)
          await page.getByRole('heading', { name: heading, exact: true }).first().waitFor()
          await page.waitForLoadState('networkidle', { timeout: 8_000 }).catch(() => {})
          await check(t, page, `${name}-${size}-${theme}`)
          if (name !== 'gallery') continue
          await page.getByRole('button', { name: 'Filter' }).click()
          for (const box of (await page.getByRole('checkbox').all()).slice(0, 2)) await box.check()
          await check(t, page, `filter-${size}-${theme}`)
        }
        t.strictSame(faults, [])
        await context.close()
      })
    }
  }

  await t.test('the console is German for a German browser, and fits 320 pixels', async (t) => {
    const { page, faults, context } = await open(browser, url, { locale: 'de-DE' })
    await page.setViewportSize({ width: 320, height: 640 })
    await page.goto(`${url}/admin`)
    await page.getByLabel('Zugangs-Token').fill(TOKEN)
    await page.getByRole('button', { name: 'Anmelden' }).click()
    await page.getByRole('heading', { name: 'Links' }).waitFor()
    for (const [name, hash] of states) {
      await page.goto(`${url}/admin${hash}`)
      await page.waitForLoadState('networkidle', { timeout: 8_000 }).catch(() => {})
      await check(t, page, `${name}-german`)
    }
    t.strictSame(faults, [])
    await context.close()
  })

  await t.test(`the console transfers at most ${MOST_TRANSFERRED} bytes, without pictures`, async (t) => {
    const { page, context } = await open(browser, url)
    const client = await context.newCDPSession(page)
    await client.send('Network.enable')
    let bytes = 0
    const urls = new Map<string, string>()
    client.on('Network.responseReceived', ({ requestId, response }) => urls.set(requestId, response.url))
    client.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
      if (/\/(admin$|assets\/)/.test(urls.get(requestId) ?? '')) bytes += encodedDataLength
    })
    await signIn(page, url)
    for (const [, hash] of states) await page.goto(`${url}/admin${hash}`)
    await page.waitForLoadState('networkidle', { timeout: 8_000 }).catch(() => {})
    t.comment(`${bytes} bytes`)
    t.ok(bytes > 10_000 && bytes <= MOST_TRANSFERRED, `${bytes}`)
    await context.close()
  })
})
