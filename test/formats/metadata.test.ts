import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import sharp from 'sharp'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { NotAnImage, readMetadata } from '../../formats/metadata.ts'
import * as make from '../helpers/make.ts'

const jpeg = await make.picture().jpeg().toBuffer()

t.test('reads the size, depth, colours, alpha and frames of each format', async (t) => {
  const size = { width: 48, height: 32 }
  const plain = { ...size, bitDepth: 8, colourSpace: 'sRGB', hasAlpha: false }
  const sequence = { ...size, frames: 50, duration: 2000 }
  const raw = { 254: 0, 256: 48, 257: 32, 258: 14, 262: 32803 }
  const small = { 254: 1, 256: 160, 257: 120, 258: 8 }
  for (const [name, file, expected] of [
    ['JPEG', jpeg, { format: 'JPEG', mediaType: 'image/jpeg', ...plain }],
    [
      'grey JPEG',
      await make.picture().toColourspace('b-w').jpeg().toBuffer(),
      { ...plain, colourSpace: 'grey' },
    ],
    [
      'CMYK JPEG',
      await make.picture().toColourspace('cmyk').jpeg().toBuffer(),
      { ...plain, colourSpace: 'CMYK' },
    ],
    ['PNG', await make.picture().png().toBuffer(), { format: 'PNG', ...plain }],
    ['PNG with alpha', await make.picture().ensureAlpha().png().toBuffer(), { ...plain, hasAlpha: true }],
    [
      'PNG of 16 bits',
      await make.picture().toColourspace('rgb16').png().toBuffer(),
      { ...plain, bitDepth: 16 },
    ],
    ['PNG with two colours', await make.picture().png({ colours: 2 }).toBuffer(), { ...plain, bitDepth: 1 }],
    [
      'APNG',
      make.png([
        make.chunk('acTL', Buffer.from([0, 0, 0, 3, 0, 0, 0, 0])),
        make.frameControl(1, 10),
        make.frameControl(50, 0),
        make.frameControl(1, 4),
      ]),
      {
        format: 'APNG',
        mediaType: 'image/apng',
        width: 2,
        height: 1,
        frames: 3,
        duration: 850,
        colourSpace: 'grey',
      },
    ],
    [
      'PNG with an animation after its pixels, which is none',
      make.png([], [make.chunk('acTL', Buffer.from([0, 0, 0, 3, 0, 0, 0, 0]))]),
      { format: 'PNG', frames: undefined },
    ],
    [
      'PNG that only Apple reads',
      make.png([make.chunk('CgBI', Buffer.alloc(4))]),
      { width: 2, height: 1, bitDepth: 8 },
    ],
    ['GIF', await make.picture().gif().toBuffer(), { ...size, frames: undefined, duration: undefined }],
    [
      'animated GIF',
      await make
        .animation(3)
        .gif({ delay: [100, 200, 300] })
        .toBuffer(),
      { width: 16, height: 16, frames: 3, duration: 600 },
    ],
    ['WebP', await make.picture().webp().toBuffer(), { format: 'WebP', ...plain }],
    [
      'animated WebP',
      await make
        .animation(3)
        .webp({ delay: [100, 200, 300] })
        .toBuffer(),
      { width: 16, height: 16, frames: 3, duration: 600 },
    ],
    ['WebP, cut', (await make.picture().webp().toBuffer()).subarray(0, 60), size],
    [
      'AVIF',
      await make.picture().avif().toBuffer(),
      { format: 'AVIF', mediaType: 'image/avif', ...plain, orientation: undefined },
    ],
    [
      'AVIF with alpha',
      await make.picture().ensureAlpha(0.5).avif().toBuffer(),
      { ...plain, hasAlpha: true },
    ],
    ['AVIF sequence', make.sequence('avis', 50, 50, 25), sequence],
    ['HEIC', make.heif('heic'), { format: 'HEIC', mediaType: 'image/heic', ...size }],
    ['HEIC in Display P3', make.heif('heic', [make.nclx(12, 13)]), { ...size, colourSpace: 'Display P3' }],
    ['HEIC in HDR', make.heif('heic', [make.nclx(9, 18)]), { ...size, colourSpace: 'BT.2100 HLG' }],
    [
      'HEIC sequence',
      make.sequence('hevc', 50, 1200, 600),
      { mediaType: 'image/heic-sequence', ...sequence },
    ],
    ['TIFF', await make.picture().tiff().toBuffer(), { format: 'TIFF', mediaType: 'image/tiff', ...plain }],
    [
      'TIFF with alpha',
      await make.picture().ensureAlpha().tiff({ compression: 'lzw' }).toBuffer(),
      { ...plain, hasAlpha: true },
    ],
    ['BigTIFF', await make.picture().tiff({ bigtiff: true }).toBuffer(), { format: 'TIFF', ...plain }],
    [
      'TIFF with reduced levels',
      await make.picture(600, 400).tiff({ pyramid: true, tile: true }).toBuffer(),
      { width: 600, height: 400, frames: undefined },
    ],
    [
      'TIFF with pages',
      make.tiff({ 256: 48, 257: 32 }, { pages: [{ 256: 9, 257: 9 }, small, { 256: 8, 257: 8 }] }),
      { ...size, frames: 3 },
    ],
    ['BMP', make.bmp(48, 32, 24), { format: 'BMP', mediaType: 'image/bmp', ...size, bitDepth: 8 }],
    ['BMP from the top down', make.bmp(48, -32, 4), { ...size, bitDepth: 4 }],
    ['BMP of OS/2', make.os2Bmp(48, 32), { ...size, bitDepth: 8 }],
    ['ICO', make.ico([16, 16], [0, 0], [32, 32]), { format: 'ICO', width: 256, height: 256 }],
    ['PSD', make.psd(), { format: 'PSD', ...size, bitDepth: 16, colourSpace: 'sRGB', hasAlpha: false }],
    ['PSD with alpha', make.psd([], 4), { ...size, hasAlpha: true }],
    [
      'JPEG 2000',
      make.jp2(),
      { format: 'JPEG 2000', mediaType: 'image/jp2', ...plain, bitDepth: 12, hasAlpha: true },
    ],
    ['JPEG 2000 codestream', make.j2c(), { mediaType: 'image/j2c', ...size, bitDepth: 10 }],
    ['DNG', make.tiff({ ...small, 50706: 1, 330: raw }), { format: 'DNG', ...size, bitDepth: 14 }],
    ['NEF', make.tiff({ ...small, 271: 'NIKON', 330: raw }), { format: 'NEF', ...size, bitDepth: 14 }],
    ['ARW', make.tiff({ ...small, 271: 'SONY', 330: raw }), { format: 'ARW', ...size, bitDepth: 14 }],
    ['ORF', make.tiff(raw, { magic: 0x4f52 }), { format: 'ORF', ...size }],
    ['RW2', make.tiff({ 4: 2, 5: 4, 6: 34, 7: 52 }, { magic: 0x55 }), { format: 'RW2', ...size }],
    ['CR2', canonRaw(), { format: 'CR2', width: 96, height: 64, bitDepth: undefined }],
    ['CR3', make.cr3(), { format: 'CR3', width: 6000, height: 4000 }],
    ['RAF', make.raf(jpeg), { format: 'RAF', width: 4256, height: 2848 }],
    ['raw file without its picture', make.tiff({ ...small, 50706: 1 }), { format: 'DNG', width: undefined }],
  ] as const) {
    const found = await make.read(file)
    t.match({ ...make.BLANK, ...found }, expected, name)
  }
})

function canonRaw() {
  const preview = { 256: 48, 257: 32, 258: 8 }
  const file = make.tiff({ ...preview, 34665: { 40962: 96, 40963: 64 } }, { at: 16 })
  file.write('CR\x02\0', 8, 'latin1')
  return file
}

t.test('the size of an SVG is that of its root element', async (t) => {
  for (const [attributes, size] of [
    ['width="120" height="80"', [120, 80]],
    ["width='1in' height = '2.54cm'", [96, 96]],
    ['width="100%" height="100%" viewBox="0 0 300 150"', [300, 150]],
    ['viewBox="0,0,\n 30, 15"', [30, 15]],
    [`${'data-long="x" '.repeat(200)} width="7" height="9"`, [7, 9]],
    ['height="10" title="a > b" width="20"', [20, 10]],
    ['', [300, 150]],
    ['width="40"', [40, 150]],
    ['height="40" viewBox="0 0 10 20"', [20, 40]],
    ['width="40" viewBox="0 0 10 20"', [40, 80]],
    ['width="50%" height="40"', [300, 40]],
    ['viewBox="0 0 0.4 0.4"', [150, 150]],
    ['viewBox="0 0 0 0"', [300, 150]],
    ['width="0" height="0"', undefined],
    ['width="all" height="none"', [300, 150]],
  ] as const) {
    const { width, height } = await make.read(
      Buffer.from(`<svg ${attributes}><rect width="1" height="1"/></svg>`),
    )
    t.strictSame(width && [width, height], size, attributes.slice(-60))
  }
  const utf16 = Buffer.from('\ufeff<?xml version="1.0"?><s:svg width="12" height="8"/>', 'utf16le')
  t.match(await make.read(utf16), { format: 'SVG', width: 12, height: 8 })
})

t.test('the header of a JPEG XL codestream', async (t) => {
  const width = (pixels: number): [number, number][] => [
    [0, 1], // not small
    [1, 2], // 13 bits
    [pixels - 1, 13],
  ]
  for (const [name, fields, expected] of [
    [
      'small, square, all as usual',
      [
        [1, 1],
        [1, 5],
        [1, 3],
        [1, 1],
      ],
      { width: 16, height: 16, bitDepth: 8 },
    ],
    [
      'small, both sides',
      [
        [1, 1],
        [1, 5],
        [0, 3],
        [2, 5],
        [1, 1],
      ],
      { width: 24, height: 16 },
    ],
    ['a ratio', [...width(3000), [4, 3], [1, 1]], { width: 4500, height: 3000 }],
    [
      'turned, 10 bits, alpha, Display P3',
      [
        ...width(3000),
        [1, 3],
        [0, 1],
        [1, 1], // extra fields
        [5, 3], // orientation 6
        [0, 3], // no other size, no preview, no animation
        [0, 1],
        [1, 2], // 10 bits
        [0, 1],
        [1, 2], // one more channel
        [1, 1], // of alpha
        [0, 1],
        [0, 1], // the colours are reported
        [0, 1], // without a profile
        [0, 2], // RGB
        [1, 2], // D65
        [2, 2], // primaries: 2 + 9
        [9, 4],
        [0, 1],
        [2, 2], // transfer: 2 + 11
        [11, 4],
      ],
      { width: 3000, height: 3000, orientation: 6, bitDepth: 10, hasAlpha: true, colourSpace: 'Display P3' },
    ],
  ] as [string, [number, number][], object][]) {
    const codestream = make.jxlCodestream(...fields)
    t.match(await make.read(codestream), { format: 'JPEG XL', ...expected }, name)
    t.match(await make.read(make.jxl(make.box('jxlc', codestream))), expected, `${name}, in a box`)
    t.match(
      await make.read(make.jxl(make.box('jxlp', Buffer.alloc(4), codestream))),
      expected,
      `${name}, in parts`,
    )
  }
})

t.test('the name of the colours', async (t) => {
  const p3 = await make.picture().withIccProfile('p3').jpeg().toBuffer()
  const { icc } = await sharp(p3).metadata()
  t.equal((await make.read(p3)).colourSpace, 'sP3C', 'what the profile calls itself')
  t.equal((await make.read(await make.picture().withIccProfile('p3').tiff().toBuffer())).colourSpace, 'sP3C')
  t.equal((await make.read(make.psd([[1039, icc!]]))).colourSpace, 'sP3C')
  const interoperable = (index: string) => make.tiff({ 34665: { 40961: 65535, 40965: { 1: index } } })
  t.equal((await make.read(make.withExif(jpeg, interoperable('R03')))).colourSpace, 'Adobe RGB (1998)')
  t.equal((await make.read(make.withExif(jpeg, interoperable('R98')))).colourSpace, 'sRGB')
})

t.test('HEIF turns by its own properties, in their order, as its decoder does', async (t) => {
  // What each value of Orientation shows, by sharp.
  const shown = await Promise.all(
    [1, 2, 3, 4, 5, 6, 7, 8].map(async (orientation) => {
      const turned = await make.picture().withMetadata({ orientation }).jpeg({ quality: 100 }).toBuffer()
      return sharp(turned).autoOrient().raw().toBuffer({ resolveWithObject: true })
    }),
  )
  const original = await make.picture().avif({ quality: 90 }).toBuffer()
  for (const [name, properties] of [
    ['not at all', []],
    ...[1, 2, 3].map((turns) => [`${turns} turns`, [make.irot(turns)]] as const),
    ...[0, 1].map((axis) => [`mirrored, axis ${axis}`, [make.imir(axis)]] as const),
    ...[1, 2, 3].flatMap((turns) =>
      [0, 1].flatMap((axis) => [
        [`${turns} turns, then axis ${axis}`, [make.irot(turns), make.imir(axis)]] as const,
        [`axis ${axis}, then ${turns} turns`, [make.imir(axis), make.irot(turns)]] as const,
      ]),
    ),
  ] as [string, Buffer[]][]) {
    const file = make.turnAvif(original, properties)
    const { width, height, orientation = 1 } = await make.read(file)
    t.strictSame([width, height], [48, 32], `${name}: the size as stored`)
    const decoded = await sharp(file).raw().toBuffer({ resolveWithObject: true })
    const distances = shown.map(({ data, info }) =>
      info.width === decoded.info.width
        ? data.reduce((sum, value, i) => sum + Math.abs(value - decoded.data[i]!), 0)
        : Infinity,
    )
    t.equal(orientation, distances.indexOf(Math.min(...distances)) + 1, name)
  }
  // libvips has put in a turn for Exif's orientation, which the one that is added undoes.
  const turned = await make.tagged(make.picture().avif())
  t.equal((await make.read(turned)).orientation, 6)
  t.equal(
    (await make.read(make.turnAvif(turned, [make.irot(1)]))).orientation,
    undefined,
    'whatever Exif says',
  )
})

t.test('a file that only begins like an image is no image', async (t) => {
  const html = '<html><script>alert(1)</script></html>'
  const cut = (file: Buffer, length: number) => file.subarray(0, length)
  for (const [name, format, file] of [
    ['a page that begins like a GIF', 'GIF', Buffer.from(`GIF89a${html}`)],
    ['a script that begins like a GIF', 'GIF', Buffer.from(`GIF89a=1;/*${' '.repeat(5000)}*/`)],
    [
      'a page that begins like a JPEG',
      'JPEG',
      Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.from(html)]),
    ],
    ['a page that begins like a PNG', 'PNG', Buffer.from(`\x89PNG\r\n\x1a\n${html}`, 'latin1')],
    ['a page that begins like a WebP', 'WebP', Buffer.from(`RIFF\0\0\0\0WEBP${html}`)],
    ['a page that begins like a TIFF', 'TIFF', Buffer.from(`II*\0${html}`)],
    [
      'a page that begins like an AVIF',
      'AVIF',
      Buffer.concat([make.ftyp('avif', 'mif1'), Buffer.from(html)]),
    ],
    ['an SVG that does not get past its name', 'SVG', Buffer.from(`<svg ${'a="b" '.repeat(20_000)}`)],
    ['a JPEG with tags and no picture', 'JPEG', cut(make.withExif(jpeg, make.exif()), 450)],
    ['a PNG without its header', 'PNG', cut(make.png(), 20)],
    ['a TIFF without a size', 'TIFF', make.tiff({ 272: 'C-1' })],
    ['a BMP without pixels', 'BMP', make.bmp(0, 0, 24)],
    ['a BMP of a negative width', 'BMP', make.bmp(-5, 5, 24)],
    ['a PSD without pixels', 'PSD', Buffer.concat([make.psd().subarray(0, 14), Buffer.alloc(30)])],
    ['a JPEG 2000 without its header', 'JPEG 2000', cut(make.jp2(), 40)],
    ['a JPEG XL that ends in its size', 'JPEG XL', Buffer.from([0xff, 0x0a, 0x00])],
    ['a CR3 without its tags', 'CR3', cut(make.cr3(), 40)],
    ['a RAF that ends at once', 'RAF', cut(make.raf(jpeg), 90)],
    ['a DNG whose directory is gone', 'DNG', cut(make.tiff({ 50706: 1 }, { at: 5000 }), 4500)],
  ] as const) {
    const mediaType = (await sniff(cut(file, HEAD_BYTES)))?.mediaType ?? `none, as ${format}`
    await t.rejects(readMetadata(file, { format, mediaType }), NotAnImage, name)
  }
  await t.rejects(readMetadata(Buffer.alloc(0), { format: 'JPEG', mediaType: 'image/jpeg' }), NotAnImage)
  await t.rejects(readMetadata(Buffer.alloc(0), { format: 'PDF', mediaType: 'application/pdf' }), NotAnImage)
})

t.test('a file on disk and a buffer have the same metadata', async (t) => {
  const path = `${t.testdir({})}/image`
  const turned = make.turnAvif(await make.tagged(make.picture().avif()), [make.irot(3)])
  // Its directory is at the end, and larger than one read.
  const long = make.tiff({ 256: 9, 257: 9, 700: Buffer.alloc(100_000), ...make.TAGS }, { at: 3_000_000 })
  for (const file of [
    jpeg,
    make.longJpeg(jpeg, make.exif()),
    turned,
    long,
    make.png([], [make.chunk('eXIf', make.exif())]),
  ]) {
    await writeFile(path, file)
    const format = (await sniff(file.subarray(0, HEAD_BYTES)))!
    t.strictSame(await readMetadata({ path }, format), await readMetadata(file, format), format.format)
  }
  for (const [width, height] of [
    [48, 32],
    [32, 48],
  ] as const) {
    await writeFile(path, await make.picture(width, height).webp().toBuffer())
    t.match(
      await readMetadata({ path }, { format: 'WebP', mediaType: 'image/webp' }),
      { width, height },
      'another file at the same path',
    )
  }
  await t.rejects(readMetadata({ path: `${path}-gone` }, { format: 'JPEG', mediaType: 'image/jpeg' }), {
    code: 'ENOENT',
  })
})

const samples = new URL('../../../shared/samples/', import.meta.url)
const skip = existsSync(samples) ? false : 'no ../shared/samples'

interface Truth {
  SourceFile: string
  MIMEType: string
  ImageWidth?: number
  ImageHeight?: number
  Make?: string
  Model?: string
  Orientation?: number
  DateTimeOriginal?: string
  OffsetTimeOriginal?: string
  GPSLatitude?: number
  GPSLongitude?: number
  GPSAltitude?: number
}

// The samples of which ExifTool reads other metadata, and the reason.
const DIFFERENCES: Record<string, { fields: string[]; reason: string }> = {
  'ft_fixture_fixture-json.webp': {
    fields: ['mediaType'],
    reason: 'it is JSON, which is no image',
  },
  'ft_fixture_fixture-sequence.avif': {
    fields: ['mediaType'],
    reason: 'its brand is avis, a sequence of AVIF. ExifTool 12.57 takes unknown brands for MP4',
  },
  'ft_fixture_fixture.psd': {
    fields: ['mediaType'],
    reason: 'image/vnd.adobe.photoshop is registered with IANA, application/vnd.adobe.photoshop is not',
  },
  'ft_fixture_fixture.nef': {
    fields: ['mediaType'],
    reason:
      'the first 128 bytes of a file whose directory is at 24 MB: it is detected as NEF, but has no header',
  },
  'ft_fixture_fixture-Leica-M10.dng': {
    fields: ['takenAt'],
    reason: 'the file is cut off: ExifTool stops at the first missing tag, and this tag is after it',
  },
  'jpg_exif-org_olympus-d320l.jpg': {
    fields: ['takenAt'],
    reason: "not supported: the time is in Olympus' own text of 1998 (APP12), not in Exif",
  },
  'jpg_exif-org_sony-powershota5.jpg': {
    fields: ['cameraMake', 'cameraModel', 'takenAt'],
    reason: "not supported: the tags are in Canon's own format of 1998 (CIFF in APP0), not in Exif",
  },
  'jpg_invalid_image01088.jpg': {
    fields: ['orientation'],
    reason: 'only XMP has the orientation, and browsers and decoders ignore it there',
  },
  'jpg_invalid_image01713.jpg': {
    fields: ['orientation'],
    reason: 'only XMP has the orientation, and browsers and decoders ignore it there',
  },
}

t.test('the samples have the metadata that ExifTool reads', { skip }, async (t) => {
  const truths: Truth[] = JSON.parse(readFileSync(new URL('truth.json', samples), 'utf8'))
  for (const truth of truths) {
    const name = truth.SourceFile
    const file = readFileSync(new URL(name, samples))
    const format = await sniff(file.subarray(0, HEAD_BYTES))
    const metadata = format && (await readMetadata(file, format).catch(() => undefined))
    const expected = {
      mediaType: truth.MIMEType,
      width: truth.ImageWidth,
      height: truth.ImageHeight,
      cameraMake: truth.Make,
      cameraModel: truth.Model,
      orientation: truth.Orientation,
      takenAt: truth.DateTimeOriginal?.replace(/^(\d+):(\d+):(\d+) /, '$1-$2-$3T'),
      takenOffset: truth.OffsetTimeOriginal,
      latitude: truth.GPSLatitude,
      longitude: truth.GPSLongitude,
      altitude: truth.GPSAltitude,
    }
    const different = Object.entries(expected).flatMap(([field, value]) => {
      const found = metadata?.[field as keyof typeof expected]
      const same = typeof value === 'number' ? Math.abs(value - Number(found)) < 1e-6 : found === value
      return same ? [] : [field]
    })
    const { fields = [], reason = '' } = DIFFERENCES[name] ?? {}
    t.strictSame(different, fields, `${name}${reason && `: ${reason}`}`)
  }
  t.strictSame(
    Object.keys(DIFFERENCES).filter((name) => !truths.some(({ SourceFile }) => SourceFile === name)),
    [],
    'each difference is about a file that exists',
  )
})
