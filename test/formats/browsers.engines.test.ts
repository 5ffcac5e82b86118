import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'
import t from 'tap'
import * as make from '../helpers/make.ts'
import { strip } from './strip/pictures.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync)
const skip = executablePath ? false : 'no Chromium'

const SHORT = 3
const LONG = 4

/** A block of Exif whose only tags are orientations. */
function block(...tags: [type: number, value: number][]) {
  const bytes = Buffer.alloc(14 + 12 * tags.length)
  bytes.write('MM\0*\0\0\0\x08', 'latin1')
  bytes.writeUInt16BE(tags.length, 8)
  tags.forEach(([type, value], i) => {
    const at = 10 + 12 * i
    bytes.writeUInt16BE(0x0112, at)
    bytes.writeUInt16BE(type, at + 2)
    bytes.writeUInt32BE(1, at + 4)
    if (type === SHORT) bytes.writeUInt16BE(value, at + 8)
    else bytes.writeUInt32BE(value, at + 8)
  })
  return bytes
}

const jpeg = await make.picture().jpeg().toBuffer()
const turned = block([SHORT, 6])
const empty = Buffer.alloc(0)
const pngPicture = await make.picture().png().toBuffer()

/** A PNG with chunks before its pixels or after them. */
function png(before: Buffer[], after: Buffer[] = []) {
  const [pixels, end] = [pngPicture.indexOf('IDAT') - 4, pngPicture.length - 12]
  return Buffer.concat([
    pngPicture.subarray(0, pixels),
    ...before,
    pngPicture.subarray(pixels, end),
    ...after,
    pngPicture.subarray(end),
  ])
}

const wrongCrc = make.chunk('eXIf', turned)
wrongCrc[wrongCrc.length - 1]! ^= 1
const orientations = [1, 2, 3, 4, 5, 6, 7, 8]
const cases: Record<string, [mediaType: string, Buffer]> = {
  ...Object.fromEntries(
    orientations.map((value) => [
      `JPEG ${value}`,
      ['image/jpeg', make.withExif(jpeg, block([SHORT, value]))],
    ]),
  ),
  ...Object.fromEntries(
    orientations.map((value) => [
      `PNG ${value}`,
      ['image/png', png([make.chunk('eXIf', block([SHORT, value]))])],
    ]),
  ),
  'JPEG, a LONG': ['image/jpeg', make.withExif(jpeg, block([LONG, 6]))],
  'JPEG, 6 and 1': ['image/jpeg', make.withExif(jpeg, block([SHORT, 6], [SHORT, 1]))],
  'JPEG, 1 and 6': ['image/jpeg', make.withExif(jpeg, block([SHORT, 1], [SHORT, 6]))],
  'JPEG, a LONG and 6': ['image/jpeg', make.withExif(jpeg, block([LONG, 6], [SHORT, 6]))],
  'JPEG, 9 and 6': ['image/jpeg', make.withExif(jpeg, block([SHORT, 9], [SHORT, 6]))],
  'JPEG, an empty block first': ['image/jpeg', make.withExif(make.withExif(jpeg, turned), empty)],
  'JPEG, a damaged block first': [
    'image/jpeg',
    make.withExif(make.withExif(jpeg, turned), Buffer.from('garbage')),
  ],
  'JPEG, bytes before the header': [
    'image/jpeg',
    make.withExif(jpeg, Buffer.concat([Buffer.from('ab'), turned])),
  ],
  'PNG, after the pixels': ['image/png', png([], [make.chunk('eXIf', turned)])],
  'PNG, a prefix': ['image/png', png([make.chunk('eXIf', Buffer.concat([Buffer.from('Exif\0\0'), turned]))])],
  'PNG, a wrong CRC': ['image/png', png([wrongCrc])],
  'PNG, an empty chunk first': ['image/png', png([make.chunk('eXIf', empty), make.chunk('eXIf', turned)])],
  WebP: ['image/webp', await make.tagged(make.picture().webp())],
}

/** The pixels that a browser paints, as a hash with the size. */
async function paint(browser: Browser, mediaType: string, file: Buffer) {
  const page = await browser.newPage()
  const script = `(async () => {
    const image = new Image()
    image.src = 'data:${mediaType};base64,${file.toString('base64')}'
    await image.decode()
    const canvas = document.createElement('canvas')
    canvas.width = image.naturalWidth
    canvas.height = image.naturalHeight
    canvas.getContext('2d').drawImage(image, 0, 0)
    return { size: [canvas.width, canvas.height], pixels: canvas.toDataURL() }
  })()`
  const painted = (await page.evaluate(script)) as { size: [number, number]; pixels: string }
  await page.close()
  return painted
}

t.test(
  'Chromium shows the copy without metadata as the original, with the reported size',
  { skip },
  async (t) => {
    const browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] })
    t.teardown(() => browser.close())
    t.comment(`Chromium ${browser.version()}`)
    for (const [name, [mediaType, file]] of Object.entries(cases)) {
      const [original, copy] = [
        await paint(browser, mediaType, file),
        await paint(browser, mediaType, await strip({ mediaType, bytes: file })),
      ]
      t.strictSame(copy, original, name)
      const { width, height, orientation = 1 } = await make.read(file)
      t.strictSame(orientation >= 5 ? [height, width] : [width, height], original.size, `${name}: the size`)
    }
  },
)
