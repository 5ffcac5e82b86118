import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp, { type Sharp } from 'sharp'
import t from 'tap'
import { thumbHashToApproximateAspectRatio } from 'thumbhash'
import { decode } from '../../../formats/decode/decode.ts'
import { HEAD_BYTES, sniff } from '../../../formats/detect.ts'
import { examine } from '../../../services/analysis/sandbox/examine.ts'
import { newFolder } from '../../helpers/folder.ts'
import { noSamples, sample } from '../../helpers/images.ts'
import * as make from '../../helpers/make.ts'
import { inTier } from '../../helpers/tiers.ts'

const folder = newFolder(t)
let files = 0

async function job(file: Buffer) {
  const path = join(folder, String(files++))
  writeFileSync(path, file)
  const format = await sniff(file.subarray(0, HEAD_BYTES))
  return { path, ...format! }
}

/** Grey noise of 400 x 300. */
function tiffInFront() {
  const random = make.random(7)
  const pixels = Buffer.from(Array.from({ length: 400 * 300 }, () => random() * 256))
  const tags = { 256: 400, 257: 300, 258: 8, 259: 1, 262: 1, 277: 1, 278: 300, 279: pixels.length }
  const { length } = make.tiff({ ...tags, 273: 0 })
  return Buffer.concat([make.tiff({ ...tags, 273: length }), pixels])
}

async function verdictOf(file: Buffer) {
  const { path: _, ...format } = await job(file)
  return examine({ task: 'examine', ...format }, file)
}

/** Random pixels, so that no part of the file can be missing unseen. */
function noise(width = 400, height = 300, pageHeight = height) {
  const random = make.random(7)
  const pixels = Buffer.from(Array.from({ length: width * height * 3 }, () => random() * 256))
  return sharp(pixels, { raw: { width, height, channels: 3, pageHeight } })
}

const turned = (orientation: number) =>
  make.picture(96, 64).withMetadata({ orientation }).jpeg({ quality: 95 }).toBuffer()

inTier.default('an image that can be decoded is ready and has a placeholder', async (t) => {
  for (const [name, file] of Object.entries({
    jpeg: await make.picture().jpeg().toBuffer(),
    grey: await make.picture().toColourspace('b-w').jpeg().toBuffer(),
    cmyk: await make.picture().toColourspace('cmyk').jpeg().toBuffer(),
    png: await make.picture().png().toBuffer(),
    'png of 16 bits': await make.picture().toColourspace('rgb16').png().toBuffer(),
    webp: await make.picture().webp().toBuffer(),
    'animated webp': await make.animation(5).webp().toBuffer(),
    'animated gif': await make.animation(5).gif().toBuffer(),
    avif: await make.picture().avif().toBuffer(),
    tiff: await make.picture().tiff().toBuffer(),
    bmp: make.bmp(30, 20, 24),
    'tiny tiff': await make.picture(1, 1).tiff().toBuffer(),
    svg: Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="9" height="9"/></svg>',
    ),
  })) {
    const verdict = await verdictOf(file)
    t.match(verdict, { status: 'ready', metadata: { placeholder: /^[\w+/]{7,40}=*$/ } }, name)
  }
})

inTier.default('the placeholder shows the picture with its orientation', async (t) => {
  const placeholders = new Set<string>()
  const upright = make.picture(96, 64)
  const undo: Record<number, (image: Sharp) => Sharp> = {
    1: (image) => image,
    2: (image) => image.flop(),
    3: (image) => image.rotate(180),
    4: (image) => image.flip(),
    5: (image) => image.flop().rotate(270),
    6: (image) => image.rotate(270),
    7: (image) => image.flop().rotate(90),
    8: (image) => image.rotate(90),
  }
  const pixels = await upright.png().toBuffer()
  for (const [orientation, turn] of Object.entries(undo)) {
    // Stored turned away, so that its orientation turns it back: what a viewer shows is the upright picture.
    const stored = await turn(sharp(pixels))
      .withMetadata({ orientation: Number(orientation) })
      .png()
      .toBuffer()
    const shown = await sharp(stored).autoOrient().raw().toBuffer()
    t.ok(shown.equals(await sharp(pixels).raw().toBuffer()), `orientation ${orientation} is made right`)
    const verdict = await verdictOf(stored)
    if (verdict.status === 'ready') placeholders.add(verdict.metadata.placeholder!)
  }
  t.equal(placeholders.size, 1)
  const ratio = thumbHashToApproximateAspectRatio(Buffer.from([...placeholders][0]!, 'base64'))
  t.ok(ratio > 1.2 && ratio < 1.8)
  t.not(await placeholderOf(await turned(6)), await placeholderOf(await turned(1)))
})

async function placeholderOf(file: Buffer) {
  const verdict = await verdictOf(file)
  return verdict.status === 'ready' && verdict.metadata.placeholder
}

inTier.default(
  'a damaged image of which a decoder makes a picture is ready and flagged, with the share that is present',
  async (t) => {
    const formats = {
      jpeg: await noise().jpeg().toBuffer(),
      png: await noise().png().toBuffer(),
      webp: await noise().webp({ lossless: true }).toBuffer(),
      gif: await noise().gif().toBuffer(),
      // libvips writes its directory at the end, without which it is no TIFF at all.
      'tiff, directory first': tiffInFront(),
    }
    for (const [name, file] of Object.entries(formats)) {
      t.match(await verdictOf(file), { status: 'ready' }, name)
      const cut = await verdictOf(file.subarray(0, file.length * 0.6))
      t.match(
        cut,
        { status: 'ready', metadata: { damaged: true, damage: /damaged or cut off/, placeholder: String } },
        `${name}, cut off`,
      )
      const share = (cut.status === 'ready' && cut.metadata.presentShare) || 0
      t.ok(Math.abs(share - 0.6) < 0.06, `${name}: the share is ${share}`)
      t.notMatch(cut, { metadata: { damage: new RegExp(folder) } }, 'and the message has no path')
    }
    const progressive = await noise().jpeg({ progressive: true }).toBuffer()
    const scan = progressive.lastIndexOf(Buffer.of(0xff, 0xda))
    const inHeader = await verdictOf(progressive.subarray(0, scan + 5))
    t.match(inHeader, { status: 'ready', metadata: { damaged: true } }, 'JPEG, cut off between two scans')
    const table = Buffer.from(progressive)
    const at = table.lastIndexOf(Buffer.of(0xff, 0xc4))
    table.fill(0xff, at + 4, at + 21)
    t.match(await verdictOf(table), { status: 'ready', metadata: { damaged: true } }, 'a damaged table')
    const flipped = Buffer.from(formats.png)
    flipped[flipped.length >> 1]! ^= 0xff
    t.match(await verdictOf(flipped), { status: 'ready', metadata: { damaged: true } }, 'a wrong checksum')
  },
)

inTier.default(
  'an image of which no decoder makes a picture is corrupt, and keeps the metadata of its header',
  async (t) => {
    const jpeg = await noise().jpeg().toBuffer()
    t.match(
      await verdictOf(jpeg.subarray(0, jpeg.indexOf(Buffer.of(0xff, 0xda)) + 14)),
      { status: 'corrupt', metadata: { width: 400, height: 300 } },
      'JPEG without any data',
    )
    const png = await noise().png().toBuffer()
    t.match(
      await verdictOf(png.subarray(0, png.indexOf('IDAT') + 6)),
      { status: 'corrupt' },
      'PNG without pixels',
    )
    const avif = await noise(100, 75).avif({ effort: 0 }).toBuffer()
    t.match(await verdictOf(avif.subarray(0, avif.length * 0.6)), { status: 'corrupt' }, 'AVIF, cut off')
    const animation = await noise(60, 60 * 20, 60)
      .webp({ lossless: true })
      .toBuffer()
    animation[animation.lastIndexOf('VP8L') + 8] = 0 // its signature
    t.match(
      await verdictOf(animation),
      { status: 'ready', metadata: { damaged: true } },
      'an animation whose later frame is damaged',
    )
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect')
    t.match(await verdictOf(svg), { status: 'corrupt' }, 'SVG')
  },
)

inTier.default('a JPEG that lacks only the marker of its end is complete', async (t) => {
  const jpeg = await noise().withMetadata({ orientation: 6 }).jpeg().toBuffer()
  const whole = await verdictOf(jpeg)
  t.match(whole, { status: 'ready' })
  t.strictSame(await verdictOf(jpeg.subarray(0, -2)), whole)
  t.strictSame(await verdictOf(jpeg.subarray(0, -1)), whole)
  t.match(await verdictOf(jpeg.subarray(0, -200)), { status: 'ready', metadata: { damaged: true } })
})

inTier.default('a file that only begins like an image is rejected', async (t) => {
  const jpeg = await make.picture().jpeg().toBuffer()
  const verdict = await verdictOf(Buffer.concat([jpeg.subarray(0, 20), Buffer.alloc(9000)]))
  t.match(verdict, { status: 'rejected', failure: /no readable header/ })
})

inTier.default('a header without a picture is not ready', async (t) => {
  for (const [name, file] of Object.entries({
    psd: make.psd(),
    jp2: make.jp2(),
    cr3: make.cr3(),
    'HEIC sequence': make.sequence('hevc', 50, 100, 1000),
    'AVIF sequence': make.sequence('avis', 50, 100, 1000),
  }))
    t.match(await verdictOf(file), { status: /failed|corrupt/, metadata: { mediaType: /image/ } }, name)
})

const plainTiff = await make.picture().tiff({ compression: 'none' }).toBuffer()

/** A TIFF that declares another compression than it has (TIFF 6.0, tag 259). */
function withCompression(value: number) {
  const file = Buffer.from(plainTiff)
  file.writeUInt16LE(value, file.indexOf(Buffer.of(3, 1, 3, 0, 1, 0, 0, 0)) + 8)
  return file
}

inTier.default('a TIFF of which no part can be decoded is corrupt', async (t) => {
  t.match(await verdictOf(withCompression(8)), { status: 'corrupt' })
})

inTier.default('an image that the decoder does not support is failed, never corrupt', async (t) => {
  for (const [name, file] of Object.entries({
    "Apple's kind of PNG": make.png([make.chunk('CgBI', Buffer.alloc(4))]),
    'a TIFF compressed by LZMA': withCompression(34925),
    'a TIFF compressed by JPEG XL': withCompression(52546),
    'a TIFF with unusual samples': make.tiff({ 256: 3, 257: 2, 258: 12, 259: 1, 262: 1, 273: 8, 279: 9 }),
  })) {
    const verdict = await verdictOf(file)
    t.match(verdict, { status: 'failed', failure: /does not support/, metadata: { height: Number } }, name)
  }
})

inTier.default('an image that exceeds a limit is failed by its header, without decoding', async (t) => {
  const start = performance.now()
  const header = Buffer.alloc(13)
  header.writeUInt32BE(60_000, 0)
  header.writeUInt32BE(60_000, 4)
  header.set([8, 2], 8)
  const bomb = Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    make.chunk('IHDR', header),
    make.chunk('IDAT', Buffer.alloc(100)),
    make.chunk('IEND'),
  ])
  t.match(await verdictOf(bomb), {
    status: 'failed',
    failure: 'the image has 60000 x 60000 pixels, the maximum is 268 million pixels',
    metadata: { width: 60_000 },
  })
  const { path, ...format } = await job(await make.animation(2).gif().toBuffer())
  const film = { ...format, width: 20_000, height: 13_000 }
  await t.rejects(decode({ path }, { ...film, frames: 3 }), {
    status: 'failed',
    message: 'the 3 frames of the image have 780 million pixels, the maximum is 536 million',
  })
  await t.rejects(decode({ path }, { ...film, width: 1, frames: 10_001 }), { message: /10001 frames/ })
  t.ok(performance.now() - start < 2_000, 'at once')
})

inTier.default('an SVG cannot include another file', async (t) => {
  const { path } = await job(
    await sharp({ create: { width: 40, height: 40, channels: 3, background: 'red' } })
      .png()
      .toBuffer(),
  )
  const draw = (href: string) =>
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="40" height="40">` +
        `<rect width="40" height="40" fill="blue"/><image width="40" height="40" xlink:href="${href}"/></svg>`,
    )
  const blank = await placeholderOf(draw(''))
  t.ok(blank)
  t.equal(await placeholderOf(draw(path.split('/').at(-1)!)), blank)
  t.equal(await placeholderOf(draw(`file://${path}`)), blank)
})

const HEIC = 'heic_IMG_5195.HEIC'
let ofHeic: ReturnType<typeof verdictOf> | undefined
/** It is decoded once: its 12 million pixels take seconds. */
const verdictOfHeic = () => {
  ofHeic ??= verdictOf(sample(HEIC))
  return ofHeic
}

inTier.default('a HEIC is decoded, and flagged if it is cut off', { skip: noSamples }, async (t) => {
  const heic = sample(HEIC)
  t.match(await verdictOfHeic(), {
    status: 'ready',
    metadata: { placeholder: /.{20}/, cameraModel: String },
  })
  t.match(await verdictOf(heic.subarray(0, heic.length * 0.6)), { metadata: { damaged: true } })
})

inTier.campaign('a HEIC is flagged if it is cut off anywhere', { skip: noSamples }, async (t) => {
  const heic = sample(HEIC)
  for (const part of [0.2, 0.98])
    t.match(await verdictOf(heic.subarray(0, heic.length * part)), { metadata: { damaged: true } }, `${part}`)
})

inTier.default('each sample gets a verdict', { skip: noSamples }, async (t) => {
  const truths: { SourceFile: string }[] = JSON.parse(sample('truth.json').toString())
  const found: Record<string, string[]> = {}
  for (const { SourceFile } of truths) {
    const { status } = await (SourceFile === HEIC ? verdictOfHeic() : verdictOf(sample(SourceFile)))
    found[status] = [...(found[status] ?? []), SourceFile]
  }
  t.strictSame(found.corrupt, ['ft_fixture_fixture-corrupt.png'])
  t.strictSame(
    found.rejected?.sort(),
    ['ft_fixture_fixture-json.webp', 'ft_fixture_fixture.nef'],
    'no picture: 19 bytes of JSON, and the first 128 bytes of a file whose header is further behind',
  )
  t.equal(found.failed, undefined)
})
