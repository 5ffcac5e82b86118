import { existsSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { AxeBuilder } from '@axe-core/playwright'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync)

/** Why tests with a browser are skipped; false where there is one. */
export const noBrowser = executablePath ? false : 'no Chromium'

const SCREENSHOTS = fileURLToPath(new URL('../screenshots/', import.meta.url))

export const phone: BrowserContextOptions = {
  viewport: { width: 360, height: 740 },
  deviceScaleFactor: 2,
  hasTouch: true,
  isMobile: true,
  userAgent:
    'Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36',
}
export const desktop: BrowserContextOptions = { viewport: { width: 1280, height: 900 } }

export async function startBrowser(t: Test): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: executablePath!,
    args: ['--no-sandbox', '--disable-gpu'],
  })
  t.teardown(() => browser.close())
  return browser
}

/**
 * Opens a page and watches it: `faults` gets each error of its console, each script error and each request to another host.
 * Failed responses are expected where `expected` matches their URL.
 */
export async function openPage(
  browser: Browser,
  url: string,
  {
    options = phone,
    isExpected = () => false,
  }: { options?: BrowserContextOptions; isExpected?: (text: string) => boolean } = {},
) {
  const context = await browser.newContext({ colorScheme: 'light', ...options })
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' && !isExpected(message.text()))
      faults.push(`console: ${message.text()} ${message.location().url}`)
  })
  page.on('pageerror', (error) => faults.push(`script: ${error.message}`))
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url())
    if (protocol !== 'blob:' && protocol !== 'data:' && host !== new URL(url).host)
      faults.push(`request to ${host}`)
  })
  await page.goto(url)
  return { page, context, faults }
}

/** The violations of the rules of axe for WCAG 2.2 AA, in both themes; empty if there are none. */
export async function violations(page: Page): Promise<string[]> {
  const found: string[] = []
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    // The pages have no frames. Without the legacy mode, axe opens another page for its report.
    const { violations } = await new AxeBuilder({ page })
      .setLegacyMode()
      .options({ resultTypes: ['violations'] })
      .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
      .analyze()
    for (const { id, nodes } of violations)
      found.push(
        ...nodes.map(({ target, failureSummary }) => `${colorScheme} ${id} ${target}: ${failureSummary}`),
      )
  }
  return found
}

/** Makes a picture of a state in both themes. The pictures are for people, and are not compared. */
export async function capture(page: Page, name: string): Promise<void> {
  mkdirSync(SCREENSHOTS, { recursive: true })
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.screenshot({ path: `${SCREENSHOTS}${name}-${colorScheme}.png` })
  }
}

/** The rules of the style sheets that move something although the person has asked for less motion (WCAG 2.2, 2.3.3). */
export const movingRules = (page: Page) =>
  page.evaluate<string[]>(`(() => {
    const isMoving = ({ style }) => style && /\\b(transition|animation)(-\\w+)*: (?!none)/.test(style.cssText)
    const find = (rules) => [...rules].flatMap((rule) => {
      if (rule.media && !matchMedia(rule.media.mediaText).matches) return []
      return [...(isMoving(rule) ? [rule.cssText] : []), ...(rule.cssRules ? find(rule.cssRules) : [])]
    })
    return [...document.styleSheets].flatMap(({ cssRules }) => find(cssRules))
  })()`)

/** The texts, buttons and fields that lie partly over others, or outside the width of the screen; empty if there are none. */
export const overlaps = (page: Page) =>
  page.evaluate<string[]>(`(() => {
    const name = (each) => each.localName + ' ' + (each.innerText || each.getAttribute('aria-label') || '').slice(0, 30)
    const isShown = (each) =>
      each.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
      !each.closest('.spoken, .skip, .tick, [aria-hidden=true], details:not([open]) > :not(summary)')
    // The parts that contain no other part. Badges and ticks lie over pictures, and bars over the page that is scrolled.
    const all = [...document.querySelectorAll('h1, h2, h3, p, a, button, input, select, textarea, dt, dd, label, summary, th, td, li')]
      .filter((each) => isShown(each) && (each.innerText || each.matches('input, select, textarea, button')))
    const parts = all.filter((each) => !all.some((other) => other !== each && each.contains(other)))
    const boxes = parts.map((each) => [each, each.getBoundingClientRect()]).filter(([, { width, height }]) => width > 1 && height > 1)
    const isOver = (a, b) =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1
    const isScrolled = (each) => {
      for (let node = each; node; node = node.parentElement)
        if (['sticky', 'fixed'].includes(getComputedStyle(node).position) || (node.scrollHeight > node.clientHeight + 1 && getComputedStyle(node).overflowY === 'auto')) return true
      return false
    }
    const found = boxes.flatMap(([a, one], n) => {
      const outside = one.left < -1 || one.right > innerWidth + 1 ? [name(a) + ' is outside'] : []
      if (isScrolled(a)) return outside
      const over = boxes.slice(n + 1).filter(([b, other]) => isOver(one, other) && !isScrolled(b))
      return [...outside, ...over.map(([b]) => name(a) + ' is over ' + name(b))]
    })
    return found
  })()`)
