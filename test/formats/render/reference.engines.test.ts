import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { HEAD_BYTES, sniff } from '../../../formats/detect.ts'
import { readMetadata } from '../../../formats/metadata.ts'
import { render } from '../../../formats/render/render.ts'
import { newFolder } from '../../helpers/folder.ts'
import { noSamples, sample } from '../../helpers/images.ts'
import * as make from '../../helpers/make.ts'

/** The largest mean difference of a sample to the other decoder's, of 255. Resizing and rounding alone give up to 1.5. */
const MAX_DIFFERENCE = 3
/** Chromium and libvips map the colours of CMYK outside sRGB in different ways. 8.2 was measured. */
const MAX_CMYK_DIFFERENCE = 10
const SIDE = 64

async function ours(file: Buffer) {
  const metadata = await readMetadata(file, (await sniff(file.subarray(0, HEAD_BYTES)))!)
  return render(file, metadata, { width: SIDE, height: SIDE, fit: 'inside', format: 'png', quality: 100 })
}

/** The samples of a picture on white, in sRGB. */
async function samples(picture: Buffer, size?: { width: number; height: number }) {
  const opened = sharp(picture)
  const resized = size ? opened.resize(size.width, size.height, { fit: 'fill' }) : opened
  const flat = resized.flatten({ background: '#fff' }).toColourspace('srgb')
  return flat.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
}

async function isLike(t: Test, file: Buffer, reference: Buffer, what: string, limit = MAX_DIFFERENCE) {
  const made = await ours(file)
  const [own, other] = [await samples(made.bytes), await samples(reference, made)]
  const { width = 0, height = 0 } = await sharp(reference).metadata()
  t.ok(Math.abs(width / height - made.width / made.height) < 0.1, `${what}: the same shape`)
  t.equal(own.info.channels, other.info.channels)
  let sum = 0
  for (const [n, value] of own.data.entries()) sum += Math.abs(value - other.data[n]!)
  const difference = sum / own.data.length
  t.ok(difference <= limit, `${what}: differs by ${difference.toFixed(2)}`)
}

// Colours of all kinds, of which some are outside sRGB if they are those of a wider space.
const colourful = Buffer.from(
  Array.from({ length: 96 * 64 }, (_, n) => [
    Math.round(((n % 96) / 95) * 255),
    Math.round((Math.floor(n / 96) / 63) * 255),
    Math.round(128 + 127 * Math.sin(n / 700)),
  ]).flat(),
)
const picture = () => sharp(colourful, { raw: { width: 96, height: 64, channels: 3 } })
const withAlpha = () =>
  picture().joinChannel(Buffer.alloc(96 * 64, 128), { raw: { width: 96, height: 64, channels: 1 } })

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync)

t.test('browsers show the same colours', { skip: !executablePath && 'no Chromium' }, async (t) => {
  const browser = await chromium.launch({
    executablePath: executablePath!,
    args: ['--no-sandbox', '--force-color-profile=srgb'],
  })
  t.teardown(() => browser.close())
  const page = await (await browser.newContext()).newPage()
  const shown = async (type: string, file: Buffer) => {
    // A text, because these tests are checked without the types of a browser.
    const url = (await page.evaluate(`(async () => {
      const image = new Image()
      image.src = 'data:${type};base64,${file.toString('base64')}'
      await image.decode()
      const canvas = document.createElement('canvas')
      canvas.width = image.naturalWidth
      canvas.height = image.naturalHeight
      canvas.getContext('2d').drawImage(image, 0, 0)
      return canvas.toDataURL('image/png')
    })()`)) as string
    return Buffer.from(url.split(',')[1]!, 'base64')
  }
  const orientation = (value: number) => {
    const block = Buffer.from('4d4d002a000000080001011200030000000100060000', 'hex')
    block[19] = value
    return Buffer.concat([block, Buffer.alloc(4)])
  }
  const jpeg = await picture().jpeg({ quality: 95 }).toBuffer()
  const rgbProfile = await picture().withIccProfile('p3').jpeg({ quality: 95 }).toBuffer()
  const grey = await picture().greyscale().png().toBuffer()
  const cases: Record<string, [string, Buffer]> = {
    ...Object.fromEntries(
      [1, 2, 3, 4, 5, 6, 7, 8].map((value) => [
        `orientation ${value}`,
        ['image/jpeg', make.withExif(jpeg, orientation(value))],
      ]),
    ),
    'Display P3, JPEG': ['image/jpeg', rgbProfile],
    'Display P3, PNG of 16 bits': [
      'image/png',
      await picture().toColourspace('rgb16').withIccProfile('p3').png().toBuffer(),
    ],
    '16 bits': ['image/png', await picture().toColourspace('rgb16').png().toBuffer()],
    'palette with transparency': ['image/png', await withAlpha().png({ palette: true }).toBuffer()],
    'grey with alpha': [
      'image/png',
      await sharp(grey).ensureAlpha(0.5).toColourspace('b-w').png().toBuffer(),
    ],
    'CMYK with a profile': [
      'image/jpeg',
      await picture().withIccProfile('cmyk').jpeg({ quality: 95 }).toBuffer(),
    ],
    'WebP with alpha': ['image/webp', await withAlpha().webp({ quality: 95 }).toBuffer()],
    AVIF: ['image/avif', await picture().avif({ quality: 90 }).toBuffer()],
  }
  for (const [what, [type, file]] of Object.entries(cases))
    await isLike(
      t,
      file,
      await shown(type, file),
      what,
      what.startsWith('CMYK') ? MAX_CMYK_DIFFERENCE : MAX_DIFFERENCE,
    )
})

/** Runs a program that reads one file and writes another. */
function converted(
  t: Test,
  file: Buffer,
  from: string,
  command: (input: string, output: string) => string[],
) {
  const folder = newFolder(t)
  const [input, output] = [join(folder, `in.${from}`), join(folder, 'out.png')]
  writeFileSync(input, file)
  const [program, ...args] = command(input, output)
  execFileSync(program!, args, { stdio: 'ignore' })
  return readFileSync(output)
}

const missing = (program: string) => !existsSync(program) && `${program} is not installed`
const MAGICK = '/usr/bin/convert'

t.test('ImageMagick shows the same picture', { skip: missing(MAGICK) }, async (t) => {
  const png = await picture().png().toBuffer()
  const alpha = await withAlpha().png().toBuffer()
  const made = (source: Buffer, extension: string, ...options: string[]) => {
    const folder = newFolder(t)
    const [input, output] = [join(folder, 'in.png'), join(folder, `out.${extension}`)]
    writeFileSync(input, source)
    execFileSync(MAGICK, [input, ...options, output])
    return readFileSync(output)
  }
  const cases: Record<string, [extension: string, Buffer]> = {
    'BMP of 24 bits': ['bmp', made(png, 'bmp', '-type', 'TrueColor')],
    'BMP with a palette': ['bmp', made(png, 'bmp', '-colors', '64', '-type', 'Palette')],
    'BMP with run lengths': [
      'bmp',
      made(png, 'bmp', '-colors', '64', '-type', 'Palette', '-compress', 'RLE'),
    ],
    'BMP of one bit': ['bmp', made(png, 'bmp', '-monochrome')],
    'BMP of version 2': ['bmp', made(png, 'bmp2')],
    ICO: ['ico', made(alpha, 'ico', '-resize', '64x64')],
    PSD: ['psd', made(png, 'psd')],
    'PSD without compression': ['psd', made(png, 'psd', '-compress', 'None')],
    'PSD of 16 bits': ['psd', made(png, 'psd', '-depth', '16')],
    'grey PSD': ['psd', made(png, 'psd', '-colorspace', 'Gray')],
    'TIFF of 16 bits': ['tif', made(png, 'tif', '-depth', '16')],
    'TIFF with a palette': ['tif', made(png, 'tif', '-colors', '64', '-type', 'Palette')],
  }
  for (const [what, [extension, file]] of Object.entries(cases))
    await isLike(
      t,
      file,
      converted(t, file, extension, (input, output) => [MAGICK, `${input}[0]`, output]),
      what,
    )
  await t.test('samples', { skip: noSamples }, async (t) => {
    for (const name of ['fixture.bmp', 'fixture.psd', 'fixture-bali.tif', 'fixture.ico'])
      await isLike(
        t,
        sample(`ft_fixture_${name}`),
        converted(t, sample(`ft_fixture_${name}`), name.split('.')[1]!, (input, output) => [
          MAGICK,
          `${input}[0]`,
          output,
        ]),
        name,
      )
  })
})

t.test(
  'heif-convert of libheif shows the same picture',
  { skip: missing('/usr/bin/heif-convert') || noSamples },
  async (t) => {
    for (const name of [
      'heic_IMG_5195.HEIC',
      'heic_mobile_iphone_13_pro_max.HEIC',
      'ft_fixture_fixture-mif1.heic',
    ]) {
      const file = sample(name)
      const reference = converted(t, file, 'heic', (input, output) => [
        '/usr/bin/heif-convert',
        input,
        output,
      ])
      await isLike(t, file, reference, name)
    }
  },
)

t.test('djxl of libjxl shows the same picture', { skip: missing('/usr/bin/cjxl') }, async (t) => {
  for (const [what, source] of Object.entries({
    plain: await picture().png().toBuffer(),
    'with alpha': await withAlpha().png().toBuffer(),
  })) {
    const folder = newFolder(t)
    const [png, jxl] = [join(folder, 'in.png'), join(folder, 'out.jxl')]
    writeFileSync(png, source)
    execFileSync('/usr/bin/cjxl', [png, jxl], { stdio: 'ignore' })
    const file = readFileSync(jxl)
    await isLike(
      t,
      file,
      converted(t, file, 'jxl', (input, output) => ['/usr/bin/djxl', '--bits_per_sample=8', input, output]),
      what,
    )
  }
})

t.test(
  'opj_decompress of OpenJPEG shows the same picture',
  { skip: missing('/usr/bin/opj_compress') },
  async (t) => {
    for (const [what, source] of Object.entries({
      colour: await picture().png().toBuffer(),
      grey: await picture().greyscale().png().toBuffer(),
      '16 bits': await picture().toColourspace('rgb16').png().toBuffer(),
    })) {
      const folder = newFolder(t)
      const [png, jp2] = [join(folder, 'in.png'), join(folder, 'out.jp2')]
      writeFileSync(png, source)
      execFileSync('/usr/bin/opj_compress', ['-i', png, '-o', jp2, '-n', '3'], { stdio: 'ignore' })
      const file = readFileSync(jp2)
      const reference = converted(t, file, 'jp2', (input, output) => [
        '/usr/bin/opj_decompress',
        '-i',
        input,
        '-o',
        output,
      ])
      await isLike(t, file, reference, what)
    }
  },
)

t.test('a profile for other channels than those of the picture is ignored', async (t) => {
  const plain = await picture().jpeg().toBuffer()
  const cmyk = (await sharp(await picture().withIccProfile('cmyk').jpeg().toBuffer()).metadata()).icc!
  const segment = Buffer.concat([Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1'), cmyk.subarray(0, 60_000)])
  const head = Buffer.of(0xff, 0xe2, (segment.length + 2) >> 8, (segment.length + 2) & 0xff)
  const wrong = Buffer.concat([plain.subarray(0, 2), head, segment, plain.subarray(2)])
  await isLike(t, wrong, plain, 'CMYK profile in an RGB JPEG')
})
