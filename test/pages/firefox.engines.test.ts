import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { TOKEN } from '../helpers/app.ts'
import { noFirefox, openInFirefox } from '../helpers/firefox.ts'
import { newFolder } from '../helpers/folder.ts'
import { makePadded } from '../helpers/images.ts'
import { listImages, startServer } from '../helpers/server.ts'

const skip = noFirefox

t.test('Firefox sends pictures by the upload page, and shows them in the console', { skip }, async (t) => {
  const folder = newFolder(t)
  const server = await startServer(t, { DATA_DIR: newFolder(t) }, { database: 'lent' })
  const files = ['IMG_1.png', 'IMG_2.png'].map((name) => join(folder, name))
  for (const file of files) writeFileSync(file, await makePadded(20_000))

  const page = await openInFirefox(t, await server.makeLink())
  await page.waitFor('[data-ready]')
  await page.chooseFiles('#choose', files)
  await page.waitFor('.tile img')
  await page.evaluate("document.querySelector('#send').click()")
  await page.waitFor('.done')
  t.match(await page.evaluate("document.querySelector('.done').innerText"), '2 pictures arrived.')
  t.equal((await listImages(server.url)).length, 2)
  t.strictSame(page.faults, [])

  await page.open(`${server.url}/admin#/images`)
  await page.waitFor('input[type=password]')
  await page.evaluate("document.querySelector('input[type=password]').focus()")
  await page.type(`${TOKEN}\ue007`) // Enter
  await page.waitFor('.cell img')
  t.equal(await page.evaluate("document.querySelectorAll('.cell').length"), 2)
  t.strictSame(page.faults, [])
})
