import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { admin } from '../helpers/app.ts'
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
import { makePadded } from '../helpers/images.ts'
import { startLossyProxy } from '../helpers/lossy-proxy.ts'
import { startServer } from '../helpers/server.ts'

const FILES = 200
const FOLDER = new URL('../../../shared/samples/', import.meta.url)
const SAMPLES = existsSync(FOLDER)
  ? readdirSync(FOLDER).filter((name) => /^jpg_(gps|orientation)|IMG_5195|fixture\.webp/.test(name))
  : []
const LARGE = 2e6
const LOST = 10
// So slow that ten connections are lost before the files have arrived. Bytes in a second, for each connection.
const SLOW = 150e3
const KB = 1000
const skip = noBrowser
// The bytes of the page and of all its files, with their header fields. The responses to uploads are not counted.
const TRANSFERRED = `['navigation', 'resource']
  .flatMap((type) => performance.getEntriesByType(type))
  .filter(({ initiatorType }) => initiatorType !== 'xmlhttprequest')
  .reduce((sum, { transferSize }) => sum + transferSize, 0)`

/** Starts the service in a process of its own, so that the work of this test does not delay it. */
async function serve(t: Test) {
  const { url } = await startServer(t, { DATA_DIR: newFolder(t), GUESS_LIMIT: '1000' }, { database: 'lent' })
  const call = async (path: string, body?: object) => {
    const json = { 'content-type': 'application/json' }
    const response = await fetch(`${url}/admin/ephemeral-links${path}`, {
      headers: { ...admin, ...(body && json) },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new Error(await response.text())
    return response.json()
  }
  return {
    base: url,
    makeLink: async (link: object) => ((await call('', link)) as { relativePath: string }).relativePath,
    uploadsOf: async (path: string) =>
      ((await call(path.slice('/uploads'.length))) as { uploads: number }).uploads,
  }
}

// Whether the browser has copies of two files.
const KEPT = `new Promise((resolve) => {
  const request = indexedDB.open('hasty')
  request.onsuccess = () => {
    const count = request.result.transaction('files').objectStore('files').count()
    count.onsuccess = () => resolve(count.result === 2)
  }
})`

const party = {
  sinceNow: 'P3D',
  label: 'Ada and Charles get married',
  description:
    'We would love to see the day through your eyes.\nPlease send us everything, also the blurred ones.',
}

const TITLES = {
  later: 'This link is not open yet',
  expired: 'This link has expired',
  unknown: 'This link does not exist',
  nowhere: 'There is no page here',
  home: 'Hasty collects pictures',
}

const readSamples = () =>
  SAMPLES.map((name) => ({ name, mimeType: '', buffer: readFileSync(new URL(name, FOLDER)) }))

const pictures = (count: number, bytes = 20_000) =>
  Promise.all(
    Array.from({ length: count }, async (_, n) => ({
      name: `IMG_${1000 + n}.png`,
      mimeType: 'image/png',
      buffer: await makePadded(bytes),
    })),
  )

t.test('the upload page', { skip, timeout: 280_000 }, async (t) => {
  const { base, makeLink, uploadsOf } = await serve(t)
  const browser = await startBrowser(t)
  // The shortest time that a link can be open.
  const expired = await makeLink({ sinceNow: 'PT31S' })
  const expiresAt = Date.now() + 31_000
  const isExpected = (text: string) => /status of (4\d\d|0)|net::ERR/.test(text)

  await t.test(
    'from empty to done with 200 files on a phone, with a refused file and a duplicate',
    async (t) => {
      const path = await makeLink({ ...party, askSender: 'required', maxImages: 500 })
      const { page, faults } = await openPage(browser, base + path, { isExpected })
      await page.waitForSelector('[data-ready]')
      const bytes = await page.evaluate<number>(TRANSFERRED)
      t.comment(`transferred until usable: ${bytes} B`)
      t.ok(bytes < 60 * KB, 'at most 60 KB until it is usable')
      await capture(page, 'phone-empty')
      t.strictSame(await violations(page), [], 'empty')
      t.comment(`\n${await page.locator('main').ariaSnapshot()}`)

      const files = [...readSamples(), ...(await pictures(FILES - 2 - SAMPLES.length))]
      files.push({ ...files.at(-1)!, name: 'copy.png' })
      files.push({ name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('This is not a picture.') })
      await page.setInputFiles('#choose', files)
      await page.waitForSelector('.tile img')
      await capture(page, 'phone-chosen')
      await page.click('#send')
      t.equal(await page.locator('#sender').getAttribute('aria-invalid'), 'true', 'the name is required')
      await page.fill('#sender', 'Grace <b>Hopper</b>')
      await page.fill('#message', 'Congratulations!')
      await page.click('#send')
      await page.waitForSelector('.progress')
      await capture(page, 'phone-sending')
      await page.waitForSelector('.done', { timeout: 120_000 })
      await page.waitForTimeout(300)
      await capture(page, 'phone-done')
      t.strictSame(await violations(page), [], 'done')
      const text = await page.locator('.done').innerText()
      t.match(text, `${FILES - 2} pictures arrived.`)
      t.match(text, 'One picture was already there.')
      t.match(text, /One picture was not accepted:[\s\S]*notes\.png/)
      t.comment(`\n${await page.locator('.done').ariaSnapshot()}`)
      const total = await page.evaluate<number>(TRANSFERRED)
      t.comment(`transferred in total: ${total} B`)
      t.ok(total < 150 * KB, 'at most 150 KB in total')
      t.equal(await uploadsOf(path), FILES - 1)
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), 360, 'nothing is cut off')

      await page.reload()
      await page.waitForSelector('[data-ready]')
      await page.click('.sent summary')
      t.equal(await page.locator('.sent .tile').count(), FILES - 1, 'what this browser has sent')
      const other = await openPage(browser, base + path)
      await other.page.waitForSelector('[data-ready]')
      t.equal(await other.page.locator('.sent').count(), 0, 'another browser sees nothing')
      t.strictSame([...faults, ...other.faults], [])
    },
  )

  await t.test('ten lost connections and a reload lose nothing', async (t) => {
    const path = await makeLink({ ...party, askSender: 'required' })
    const proxy = await startLossyProxy(t, base)
    const { page, faults } = await openPage(browser, proxy.url.replace(/\/$/, '') + path, {
      options: desktop,
      isExpected,
    })
    await page.waitForSelector('[data-ready]')
    await capture(page, 'desktop-empty')
    await page.fill('#sender', 'Grace')
    await page.setInputFiles('#choose', await pictures(8, LARGE))
    await page.waitForSelector('.tile img')
    await capture(page, 'desktop-chosen')
    proxy.limit(SLOW)
    await page.click('#send')
    await page.waitForSelector('.bar')
    t.strictSame(await violations(page), [], 'sending')
    await page.click('.progress button')
    await capture(page, 'desktop-paused')
    t.strictSame(await violations(page), [], 'paused')
    await page.click('.progress button')
    for (let n = 0; n < LOST; n++) {
      await page.waitForTimeout(250)
      proxy.refuse(true)
      proxy.lose('RST')
      if (n < LOST - 1) await page.waitForTimeout(100)
      else {
        await page.waitForSelector('.note.warn')
        await capture(page, 'desktop-offline')
        t.strictSame(await violations(page), [], 'offline')
      }
      proxy.refuse(false)
    }
    t.ok((await uploadsOf(path)) < 8, 'it is not done before the reload')
    proxy.limit(Number.POSITIVE_INFINITY)
    await page.reload()
    await page.waitForSelector('.done', { timeout: 60_000 })
    await capture(page, 'desktop-done')
    t.match(await page.locator('.done h2').innerText(), 'Done. You can close this page.')
    t.match(await page.locator('.done').innerText(), /arrived\./)
    t.equal(await uploadsOf(path), 8)
    t.strictSame(faults, [])
  })

  await t.test(
    'a password opens the page of its link, and a reload sends nothing that was not sent',
    async (t) => {
      const path = await makeLink({ ...party, password: 'blue-heron' })
      const { page, faults } = await openPage(browser, base + path, { isExpected })
      t.strictSame(await violations(page), [], 'locked')
      await capture(page, 'phone-locked')
      await page.fill('#password', 'wrong')
      await page.keyboard.press('Enter')
      await page.waitForSelector('#fault')
      t.strictSame(await violations(page), [], 'wrong password')
      await page.fill('#password', 'blue-heron')
      await page.keyboard.press('Enter')
      await page.waitForSelector('[data-ready]')
      await page.setInputFiles('#choose', await pictures(2))
      await page.waitForSelector('.tile img')
      t.strictSame(await violations(page), [], 'chosen')
      await page.waitForFunction(KEPT)
      await page.reload()
      await page.waitForSelector('.tile img')
      t.match(await page.locator('#send').innerText(), 'Send 2 pictures')
      await page.locator('.remove').first().click()
      await page.click('#send')
      await page.waitForSelector('.done')
      t.equal(await uploadsOf(path), 1)
      t.strictSame(faults, [])
    },
  )

  await t.test('pictures are dropped, pasted and chosen as a folder', async (t) => {
    const path = await makeLink(party)
    const { page, faults, context } = await openPage(browser, base + path, { options: desktop, isExpected })
    await page.waitForSelector('[data-ready]')
    const give = (event: string) =>
      page.evaluate(`(() => {
        const data = new DataTransfer()
        data.items.add(new File(['${event}'], '${event}.png', { type: 'image/png' }))
        const init = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data }
        dispatchEvent('${event}' === 'paste' ? new ClipboardEvent('paste', init) : new DragEvent('${event}', init))
      })()`)
    await give('dragover')
    await page.waitForSelector('.dropping')
    await capture(page, 'desktop-dropping')
    await give('drop')
    await page.waitForSelector('.tile[title="drop.png"]')
    t.equal(await page.locator('.dropping').count(), 0)
    await give('paste')
    await page.waitForSelector('.tile[title="paste.png"]')
    const folder = newFolder(t)
    mkdirSync(join(folder, 'trip', 'day 2'), { recursive: true })
    for (const name of ['trip/a.png', 'trip/day 2/b.png'])
      writeFileSync(join(folder, name), await makePadded(10_000))
    await page.setInputFiles('#folder', join(folder, 'trip'))
    await page.waitForSelector('.tile[title="b.png"]')
    t.equal(await page.locator('.tile').count(), 4)
    t.strictSame(faults, [])
    await context.close()
  })

  await t.test('the page fits 320 pixels, also from right to left and with forced colours', async (t) => {
    const path = await makeLink({
      ...party,
      label: 'חתונה של עדה وتشارلز',
      description: 'נשמח לראות את היום בעיניים שלכם.',
      askSender: 'required',
    })
    const options = { ...phone, viewport: { width: 320, height: 640 } }
    const { page, faults, context } = await openPage(browser, base + path, { options, isExpected })
    await page.waitForSelector('[data-ready]')
    const overflow = () =>
      page.evaluate<number>('Math.max(0, document.documentElement.scrollWidth - innerWidth)')
    t.equal(await overflow(), 0, 'empty')
    t.ok((await movingRules(page)).length > 0, 'something moves')
    await page.emulateMedia({ reducedMotion: 'reduce' })
    t.strictSame(await movingRules(page), [], 'nothing moves for people who want less motion')
    await page.setInputFiles('#choose', await pictures(12))
    await page.waitForSelector('.tile img')
    const top = (selector: string) =>
      page.evaluate<number>(`document.querySelector('.actions.last ${selector}').getBoundingClientRect().top`)
    for (const direction of ['ltr', 'rtl']) {
      await page.evaluate(`document.documentElement.dir = '${direction}'`)
      t.equal(await overflow(), 0, direction)
      t.strictSame(await overlaps(page), [], direction)
      t.equal(await top('.second'), await top('.grow'), `${direction}: both buttons are on one line`)
      await page.locator('#send').scrollIntoViewIfNeeded()
      await capture(page, `narrow-${direction}`)
    }
    await page.emulateMedia({ forcedColors: 'active' })
    t.equal(await overflow(), 0, 'forced colours')
    await page.screenshot({ path: 'test/screenshots/narrow-forced-colours.png' })
    t.strictSame(faults, [])
    await context.close()
  })

  await t.test('without JavaScript, the page is a form', async (t) => {
    const path = await makeLink({ ...party, askSender: 'optional' })
    const options = { ...phone, javaScriptEnabled: false, locale: 'de-DE' }
    const { page, faults } = await openPage(browser, base + path, { options, isExpected })
    await page.screenshot({ path: 'test/screenshots/phone-form.png', fullPage: true })
    await page.fill('#sender', 'Ada')
    await page.setInputFiles('#image', await pictures(2))
    await page.click('button:has-text("Senden")')
    t.match(await page.locator('h1').innerText(), 'Fertig. Sie können diese Seite schließen.')
    t.match(await page.locator('main').innerText(), '2 Bilder sind angekommen.')
    await page.screenshot({ path: 'test/screenshots/phone-form-done.png' })
    t.equal(await uploadsOf(path), 2)
    t.strictSame(faults, [])
  })

  await t.test('a link that is not open has a friendly page', async (t) => {
    await new Promise((resolve) => setTimeout(resolve, expiresAt - Date.now()))
    const later = await makeLink({ ...party, opensOn: new Date(Date.now() + 3_600_000).toISOString() })
    for (const [name, path] of Object.entries({
      later,
      expired,
      unknown: '/uploads/x',
      nowhere: '/x/y',
      home: '/',
    })) {
      const { page, faults } = await openPage(browser, base + path, { isExpected })
      t.match(await page.locator('h1').innerText(), TITLES[name as keyof typeof TITLES])
      t.strictSame(await violations(page), [], name)
      await capture(page, `phone-${name}`)
      t.strictSame(faults, [], name)
      await page.close()
    }
  })

  await t.test('on a slow phone the page is usable within a second', async (t) => {
    const path = await makeLink({ ...party, askSender: 'optional' })
    const { page, context } = await openPage(browser, `${base}/`)
    const network = await context.newCDPSession(page)
    // What Chromium calls Fast 3G.
    await network.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 150 * 3.75,
      downloadThroughput: (1.6e6 / 8) * 0.9,
      uploadThroughput: (0.75e6 / 8) * 0.9,
    })
    const times: number[] = []
    for (let n = 0; n < 3; n++) {
      const start = Date.now()
      await page.goto(base + path, { waitUntil: 'commit' })
      await page.waitForSelector('#image, #choose', { state: 'attached' })
      times.push(Date.now() - start)
    }
    t.comment(`the form is usable after ${times} ms`)
    // The page is never cached. A busy machine delays single loads.
    const usable = Math.min(...times)
    t.ok(usable < 1_000)
  })
})
