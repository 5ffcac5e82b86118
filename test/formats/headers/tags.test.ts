import { brotliCompressSync, deflateSync } from 'node:zlib'
import t, { type Test } from 'tap'
import * as make from '../../helpers/make.ts'

const jpeg = await make.picture().jpeg().toBuffer()
const { READ_TAGS } = make
// The metadata of a format, or of a place in a file, whose Exif does not turn the picture.
const UNTURNED = { ...READ_TAGS, orientation: undefined }

t.test('reads Exif in each place where a format can have it', async (t) => {
  const block = make.exif()
  const exifBox = Buffer.concat([Buffer.alloc(4), block])
  const jxl = make.box('jxlc', make.jxlCodestream([1, 1], [1, 5], [1, 3], [1, 1]))
  const hex = `\nexif\n ${block.length}\n${block.toString('hex').replace(/.{72}/g, '$&\n')}`
  const profile = make.chunk(
    'zTXt',
    Buffer.concat([Buffer.from('Raw profile type exif\0\0'), deflateSync(hex)]),
  )
  const big = make.tiff({ 256: 48, 257: 32, ...make.TAGS }, { big: true })
  for (const [name, file, expected] of [
    ['JPEG', make.withExif(jpeg, block), READ_TAGS],
    ['JPEG, big-endian', make.withExif(jpeg, make.exif({ little: false })), READ_TAGS],
    [
      'JPEG, after a comment',
      make.withSegment(make.withExif(jpeg, block), 0xfe, Buffer.alloc(50_000)),
      READ_TAGS,
    ],
    ['JPEG, after 300 KB', make.longJpeg(jpeg, block), READ_TAGS],
    ['PNG', make.png([make.chunk('eXIf', block)]), READ_TAGS],
    ['PNG, after the pixels', make.png([], [make.chunk('eXIf', block)]), UNTURNED],
    ['PNG, as text', make.png([profile]), UNTURNED],
    ['WebP', await make.tagged(make.picture().webp()), { ...UNTURNED, altitude: 12.5 }],
    ['AVIF', await make.tagged(make.picture().avif()), { ...READ_TAGS, altitude: 12.5 }],
    ['TIFF', make.tiff({ 256: 48, 257: 32, ...make.TAGS }), READ_TAGS],
    ['TIFF, big-endian', make.tiff({ 256: 48, 257: 32, ...make.TAGS }, { little: false }), READ_TAGS],
    ['BigTIFF', big, READ_TAGS],
    ['ORF', make.tiff({ 256: 48, 257: 32, ...make.TAGS }, { magic: 0x4f52 }), READ_TAGS],
    ['RW2', make.tiff({ 4: 0, 5: 0, 6: 9, 7: 9, ...make.TAGS }, { magic: 0x55 }), READ_TAGS],
    ['CR3', make.cr3(), READ_TAGS],
    ['RAF', make.raf(make.withExif(jpeg, block)), READ_TAGS],
    [
      'PSD',
      make.psd([
        [1000, Buffer.alloc(3)],
        [1058, block],
      ]),
      READ_TAGS,
    ],
    ['JPEG 2000', make.jp2(make.jp2Exif(block)), READ_TAGS],
    ['JPEG XL', make.jxl(jxl, make.box('Exif', exifBox)), UNTURNED],
    [
      'JPEG XL, packed',
      make.jxl(make.box('brob', Buffer.from('Exif'), brotliCompressSync(exifBox)), jxl),
      UNTURNED,
    ],
  ] as [string, Buffer, Record<string, unknown>][]) {
    const found: Record<string, unknown> = { ...make.BLANK, ...(await make.read(file)) }
    const { latitude, longitude, ...exact } = expected
    t.match(found, exact, name)
    near(t, found, { latitude, longitude } as Record<string, number>, name)
  }
})

function near(t: Test, found: Record<string, unknown>, expected: Record<string, number>, name: string) {
  for (const [field, value] of Object.entries(expected))
    t.ok(
      Math.abs((found[field] as number) - value) < 1e-6,
      `${name}: ${field} ${found[field]} is near ${value}`,
    )
}

t.test('cleans the text of tags', async (t) => {
  for (const [name, bytes, expected] of [
    ['blanks', '  PENTAX K10D        ', 'PENTAX K10D'],
    ['a NUL', 'C-1\0junk', 'C-1'],
    ['nothing but NULs', '\0\0\0', undefined],
    ['nothing but blanks', '    ', undefined],
    ['control characters', 'C\x01\x1b[31m\r\n1', 'C [31m 1'],
    ['an invisible turn of direction', 'C\u202e1', 'C 1'],
    ['UTF-8', 'Überkamera 写真', 'Überkamera 写真'],
    ['windows-1252', Buffer.from('Caf\xe9 \x80', 'latin1'), 'Café €'],
    ['UTF-8 taken for windows-1252 and written again', 'CafÃ© â‚¬', 'Café €'],
    ['letters that only look like that', 'Ã', 'Ã'],
    ['a long text', 'x'.repeat(5000), 'x'.repeat(200)],
    ['a long text of pairs', '😀'.repeat(300), '😀'.repeat(200)],
    ['UTF-8 that is cut', Buffer.from('x\xc3', 'latin1'), 'xÃ'],
  ] as [string, string | Buffer, string | undefined][]) {
    const model = Buffer.isBuffer(bytes) ? Buffer.concat([bytes, Buffer.alloc(5)]) : bytes
    const { cameraModel } = await make.read(make.withExif(jpeg, make.tiff({ 272: model })))
    t.equal(cameraModel, expected, name)
  }
})

t.test('reads only times that exist in the calendar, and offsets that exist on earth', async (t) => {
  const time = async (original: string, offset?: string) => {
    const block = make.tiff({ 34665: { 36867: original, ...(offset !== undefined && { 36881: offset }) } })
    const { takenAt, takenOffset } = await make.read(make.withExif(jpeg, block))
    return [takenAt, takenOffset]
  }
  t.strictSame(await time('2024:02:29 23:59:59'), ['2024-02-29T23:59:59', undefined])
  t.strictSame(await time('2024-02-29T23:59:59'), ['2024-02-29T23:59:59', undefined])
  for (const wrong of [
    '0000:00:00 00:00:00',
    '    :  :     :  :  ',
    '2023:02:29 00:00:00',
    '2023:13:01 00:00:00',
    '2023:01:01 25:00:00',
    '2023:01:01',
    'yesterday',
    '',
  ])
    t.strictSame(await time(wrong), [undefined, undefined], wrong)
  for (const [offset, expected] of [
    ['+14:00', '+14:00'],
    ['-03:30 ', '-03:30'],
    ['+15:00', undefined],
    ['+02:60', undefined],
    ['   :  ', undefined],
    ['CET', undefined],
  ])
    t.equal((await time('2024:02:29 23:59:59', offset))[1], expected, `${offset}`)
  const inMain = make.tiff({ 36867: '2024:02:29 23:59:59' })
  t.equal(
    (await make.read(make.withExif(jpeg, inMain))).takenAt,
    '2024-02-29T23:59:59',
    'in the first directory, as in TIFF/EP',
  )
})

t.test('reads a location only if both numbers and both sides are present', async (t) => {
  const place = async (gps: make.Tags) => {
    const { latitude, longitude, altitude } = await make.read(make.withExif(jpeg, make.tiff({ 34853: gps })))
    return [latitude, longitude, altitude]
  }
  const [zero, ten] = [
    [
      [0, 1],
      [0, 1],
      [0, 1],
    ],
    [
      [10, 1],
      [30, 1],
      [0, 1],
    ],
  ] as [number, number][][]
  const half = { 1: 'N', 2: ten!, 3: 'W', 4: ten! }
  const nowhere = [undefined, undefined, undefined]
  t.strictSame(await place(half), [10.5, -10.5, undefined])
  t.strictSame(await place({ ...half, 1: 's' }), [-10.5, -10.5, undefined], 'a small letter')
  t.strictSame(await place({ 1: 'N', 2: zero!, 3: 'E', 4: zero! }), [0, 0, undefined], 'a place at 0, 0')
  for (const [name, gps] of Object.entries({
    'zeros without sides': { 2: zero!, 4: zero! },
    'zeros with blank sides': { 1: '', 2: zero!, 3: '', 4: zero! },
    'no sides': { 2: ten!, 4: ten! },
    'a wrong side': { ...half, 1: 'X' },
    'one of both': { 1: 'N', 2: ten! },
    'nothing over nothing': {
      ...half,
      2: [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
    },
    'something over nothing': {
      ...half,
      2: [
        [1, 0],
        [0, 1],
        [0, 1],
      ],
    },
    'beyond the pole': {
      ...half,
      2: [
        [91, 1],
        [0, 1],
        [0, 1],
      ],
    },
    'beyond the date line': {
      ...half,
      4: [
        [180, 1],
        [1, 1],
        [0, 1],
      ],
    },
    'text for numbers': { ...half, 2: 'ten' },
    'no numbers': { ...half, 2: [] },
  } as Record<string, make.Tags>))
    t.strictSame(await place(gps), nowhere, name)
  const degreesAlone = {
    ...half,
    2: [
      [105, 10],
      [0, 0],
      [0, 0],
    ],
  } as make.Tags
  t.strictSame(await place(degreesAlone), [10.5, -10.5, undefined], 'degrees with a fraction')

  const altitude = async (gps: make.Tags) => (await place(gps))[2]
  t.equal(await altitude({ 6: [[25, 2]] }), 12.5, 'above the sea without a reference')
  t.equal(await altitude({ 5: Buffer.from([0]), 6: [[0, 1]] }), 0, 'at the sea')
  t.equal(await altitude({ 5: Buffer.from([1]), 6: [[25, 2]] }), -12.5)
  t.equal(await altitude({ 5: Buffer.from([3]), 6: [[25, 2]] }), -12.5, 'below, by a value of Exif 3')
  t.equal(await altitude({ 6: [[0, 0]] }), undefined)
  t.equal(await altitude({ 6: [[4_000_000_000, 1]] }), undefined)
})

t.test('reads only orientations from 1 to 8', async (t) => {
  for (const [value, expected] of [
    [1, 1],
    [8, 8],
    [0, undefined],
    [9, undefined],
    [12336, undefined],
  ])
    t.equal(
      (await make.read(make.withExif(jpeg, make.tiff({ 274: value! })))).orientation,
      expected,
      `${value}`,
    )
})

t.test('XMP of a GIF is read, wherever it is before the first frame', async (t) => {
  const gif = await make.picture().gif({ loop: 0 }).toBuffer()
  const table = 13 + ((gif[10]! & 0x80) === 0 ? 0 : 3 * 2 ** ((gif[10]! & 7) + 1))
  const trailer = Buffer.from([1, ...Array.from({ length: 256 }, (_, n) => 255 - n), 0])
  const block = (xmp: Buffer) =>
    Buffer.concat([Buffer.from('\x21\xff\x0bXMP DataXMP', 'latin1'), xmp, trailer])
  const xmp = block(make.xmp({ 'tiff:Model': 'Cam 9', 'exif:DateTimeOriginal': '2021-03-04T05:06:07' }))
  const comment = Buffer.from('\x21\xfe\x03abc\x02de\x00', 'latin1')
  for (const blocks of [[xmp], [comment, xmp]]) {
    const file = Buffer.concat([gif.subarray(0, table), ...blocks, gif.subarray(table)])
    t.match(await make.read(file), { format: 'GIF', cameraModel: 'Cam 9', takenAt: '2021-03-04T05:06:07' })
  }
})

t.test('reads from XMP the tags that Exif does not have', async (t) => {
  const packet = make.xmp({
    'tiff:Make': 'X-Make',
    'tiff:Model': 'X-1',
    'exif:DateTimeOriginal': '2019-01-02T03:04:05.67-08:00',
    'exif:GPSLatitude': '12,30.6S',
    'exif:GPSLongitude': '98,45,0E',
    'exif:GPSAltitude': '25/2',
    'exif:GPSAltitudeRef': '1',
    'exif:LensModel': 'X 50mm',
    'tiff:Orientation': '6',
  })
  const expected = {
    cameraMake: 'X-Make',
    cameraModel: 'X-1',
    takenAt: '2019-01-02T03:04:05',
    takenOffset: '-08:00',
    latitude: -12.51,
    longitude: 98.75,
    altitude: -12.5,
    lens: 'X 50mm',
  }
  const text = Buffer.concat([Buffer.from('XML:com.adobe.xmp\0\0\0\0\0'), packet])
  for (const [name, file] of [
    ['JPEG', make.withXmp(jpeg, packet)],
    ['PNG', make.png([make.chunk('iTXt', text)])],
    ['PNG, after the pixels', make.png([], [make.chunk('iTXt', text)])],
    ['TIFF', make.tiff({ 256: 1, 257: 1, 700: packet })],
    ['PSD', make.psd([[1060, packet]])],
    ['JPEG 2000', make.jp2(make.box('uuid', Buffer.from('be7acfcb97a942e89c71999491e3afac', 'hex'), packet))],
  ] as const) {
    const found = await make.read(file)
    t.match(found, expected, name)
    t.equal(found.orientation, undefined, `${name}: browsers ignore the orientation in XMP`)
  }

  const both = await make.read(
    make.withExif(
      make.withXmp(jpeg, packet),
      make.tiff({
        272: 'C-1',
        34665: { 36867: '2021:03:04 05:06:07' },
      }),
    ),
  )
  t.match(
    both,
    { cameraMake: 'X-Make', cameraModel: 'C-1', takenAt: '2021-03-04T05:06:07' },
    'Exif has priority',
  )
  t.equal(both.takenOffset, undefined, 'and its time does not get the offset of XMP')

  const time = async (value: string) =>
    await make.read(make.withXmp(jpeg, make.xmp({ 'exif:DateTimeOriginal': value })))
  t.match(await time('2019-01-02T03:04Z'), { takenAt: '2019-01-02T03:04:00', takenOffset: '+00:00' })
  t.equal((await time('2019-01-02')).takenAt, undefined, 'a day is no time')
})
