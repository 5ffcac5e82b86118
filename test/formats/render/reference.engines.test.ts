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
/** Without a profile, libvips takes a usual one, and ImageMagick none. */
const MAX_BARE_CMYK_DIFFERENCE = 30
/** Frames are compared as lossy WebP. Another frame differs by 40 and more. */
const MAX_FRAME_DIFFERENCE = 8
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

/** An animation of three frames. */
const frames = () => {
  const turn = (by: number) => Buffer.from(colourful.map((_, n) => colourful[(n + by) % colourful.length]!))
  return sharp(Buffer.concat([0, 3 * 96 * 16, 3 * 96 * 32].map(turn)), {
    raw: { width: 96, height: 192, channels: 3, pageHeight: 64 },
  })
}

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
    'Adobe RGB': ['image/jpeg', withProfile(jpeg, adobeRgb())],
    // A browser without HDR shows the base picture, like a program that does not know the gain map.
    'HDR with a gain map': [
      'image/jpeg',
      Buffer.concat([
        make.withXmp(jpeg, make.xmp({ 'hdrgm:Version': '1.0' })),
        await picture().greyscale().resize(48).jpeg().toBuffer(),
      ]),
    ],
    SVG: ['image/svg+xml', SVG],
    'GIF, its first frame': ['image/gif', await frames().gif().toBuffer()],
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

/**
 * Adobe RGB (1998) as an ICC profile: its colours, adapted to D50 (ICC.1:2010 §7, §9), and a gamma of 2.19921875.
 */
function adobeRgb(): Buffer {
  const fixed = (...values: number[]) => {
    const bytes = Buffer.alloc(4 * values.length)
    for (const [n, value] of values.entries()) bytes.writeInt32BE(Math.round(value * 65_536), 4 * n)
    return bytes
  }
  const xyz = (...values: number[]) =>
    Buffer.concat([Buffer.from('XYZ \0\0\0\0', 'latin1'), fixed(...values)])
  const gamma = Buffer.from('curv\0\0\0\0\0\0\0\x01\x02\x33\0\0', 'latin1')
  const text = Buffer.from('text\0\0\0\0none\0\0\0\0', 'latin1')
  const description = Buffer.concat([Buffer.from('desc\0\0\0\0\0\0\0\x05none\0', 'latin1'), Buffer.alloc(79)])
  const tags: [string, Buffer][] = [
    ['desc', description],
    ['cprt', text],
    ['wtpt', xyz(0.9642, 1, 0.8249)],
    ['rXYZ', xyz(0.60974, 0.31111, 0.01947)],
    ['gXYZ', xyz(0.20528, 0.62567, 0.06087)],
    ['bXYZ', xyz(0.14919, 0.06322, 0.74457)],
    ['rTRC', gamma],
    ['gTRC', gamma],
    ['bTRC', gamma],
  ]
  const table = Buffer.alloc(4 + 12 * tags.length)
  table.writeUInt32BE(tags.length)
  let at = 128 + table.length
  for (const [n, [name, content]] of tags.entries()) {
    table.write(name, 4 + 12 * n, 'latin1')
    table.writeUInt32BE(at, 8 + 12 * n)
    table.writeUInt32BE(content.length, 12 + 12 * n)
    at += content.length
  }
  const header = Buffer.alloc(128)
  header.writeUInt32BE(at)
  header.write('\x02\x40\0\0mntrRGB XYZ ', 8, 'latin1')
  header.write('acsp', 36, 'latin1')
  fixed(0.9642, 1, 0.8249).copy(header, 68)
  return Buffer.concat([header, table, ...tags.map(([, content]) => content)])
}

/** A JPEG with a profile in one segment. */
const withProfile = (jpeg: Buffer, icc: Buffer) =>
  make.withSegment(jpeg, 0xe2, Buffer.concat([Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1'), icc]))

/** An Exif block with this orientation. */
const orientation = (value: number) => {
  const block = Buffer.from('4d4d002a000000080001011200030000000100060000', 'hex')
  block[19] = value
  return Buffer.concat([block, Buffer.alloc(4)])
}

const SVG = Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64">
  <defs><linearGradient id="g"><stop stop-color="#f40"/><stop offset="1" stop-color="#06f"/></linearGradient></defs>
  <rect width="96" height="64" fill="url(#g)"/><circle cx="30" cy="30" r="20" fill="#fff" fill-opacity=".6"/>
  <path d="M50 60 Q70 0 90 60Z" fill="none" stroke="#084" stroke-width="4"/></svg>`)

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
  await t.test('CMYK without a profile, inverted by Adobe or not', async (t) => {
    const adobe = made(png, 'jpg', '-colorspace', 'CMYK', '-strip', '-quality', '95')
    t.ok(adobe.includes('Adobe'), 'the program of Photoshop inverts it')
    const tiff = made(png, 'tif', '-colorspace', 'CMYK', '-strip')
    for (const [extension, file] of Object.entries({ jpg: adobe, tif: tiff })) {
      const reference = converted(t, file, extension, (input, output) => [
        MAGICK,
        input,
        '-colorspace',
        'sRGB',
        output,
      ])
      await isLike(t, file, reference, `CMYK ${extension}`, MAX_BARE_CMYK_DIFFERENCE)
    }
  })

  await t.test('each frame of an animation', async (t) => {
    const gif = await frames().gif().toBuffer()
    const metadata = await readMetadata(gif, (await sniff(gif))!)
    const size = { width: 48, height: 32, fit: 'inside', quality: 90 } as const
    const { bytes } = await render(gif, metadata, { ...size, format: 'webp' })
    t.equal((await sharp(bytes).metadata()).pages, 3)
    for (const page of [0, 1, 2]) {
      const reference = converted(t, gif, 'gif', (input, output) => [MAGICK, `${input}[${page}]`, output])
      const [own, other] = [
        await samples(await sharp(bytes, { page }).png().toBuffer()),
        await samples(reference, { width: 48, height: 32 }),
      ]
      const sum = own.data.reduce((total, value, n) => total + Math.abs(value - other.data[n]!), 0)
      t.ok(sum / own.data.length <= MAX_FRAME_DIFFERENCE, `frame ${page}: ${sum / own.data.length}`)
    }
    const first = await render(gif, metadata, { ...size, format: 'jpeg' })
    await isLike(
      t,
      first.bytes,
      converted(t, gif, 'gif', (i, o) => [MAGICK, `${i}[0]`, o]),
      'as JPEG',
    )
  })

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

t.test(
  'a sequence of HEIC without a still picture is shown as its first frame',
  { skip: missing('/usr/bin/heif-enc') },
  async (t) => {
    const stills = await Promise.all(
      [await picture().png().toBuffer(), await picture().negate().png().toBuffer()].map(async (source) => {
        const folder = newFolder(t)
        const [input, output] = [join(folder, 'in.png'), join(folder, 'out.heic')]
        writeFileSync(input, source)
        execFileSync('/usr/bin/heif-enc', ['-q', '95', '-o', output, input], {
          stdio: 'ignore',
        })
        return readFileSync(output)
      }),
    )
    const file = make.sequenceOf(stills, { brand: 'hevc', coding: 'hvc1', configuration: 'hvcC' })
    await isLike(t, file, await picture().png().toBuffer(), 'its first frame')
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
      'with alpha': await withAlpha().png().toBuffer(),
      'grey with alpha': await withAlpha().toColourspace('b-w').png().toBuffer(),
      'with alpha, 16 bits': await withAlpha().toColourspace('rgb16').png().toBuffer(),
      tiles: await withAlpha().resize(300, 200).png().toBuffer(),
    })) {
      const folder = newFolder(t)
      const [png, jp2] = [join(folder, 'in.png'), join(folder, 'out.jp2')]
      writeFileSync(png, source)
      const options = what === 'tiles' ? ['-t', '128,96', '-d', '40,30'] : []
      execFileSync('/usr/bin/opj_compress', ['-i', png, '-o', jp2, '-n', '3', ...options], {
        stdio: 'ignore',
      })
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

t.test(
  "a raw picture is the camera's preview, as ExifTool extracts it",
  { skip: missing('/usr/bin/exiftool') || noSamples },
  async (t) => {
    const raws = {
      'fixture.arw': sample('ft_fixture_fixture-sony-zv-e10.arw'),
      'made.raf': make.raf(await picture().resize(480, 320).jpeg({ quality: 95 }).toBuffer()),
    }
    for (const [name, file] of Object.entries(raws)) {
      const input = join(newFolder(t), name)
      writeFileSync(input, file)
      const previews = ['JpgFromRaw', 'PreviewImage', 'ThumbnailImage'].map((tag) =>
        execFileSync('exiftool', ['-b', `-${tag}`, input], { stdio: ['ignore', 'pipe', 'ignore'] }),
      )
      const largest = previews.sort((a, b) => b.length - a.length)[0]!
      const metadata = await readMetadata(file, (await sniff(file.subarray(0, HEAD_BYTES)))!)
      // The preview is turned like the raw picture.
      const turned = make.withExif(largest, orientation(metadata.orientation ?? 1))
      await isLike(t, file, (await ours(turned)).bytes, name)
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
