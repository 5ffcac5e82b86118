import { deflateSync, gzipSync } from 'node:zlib'
import sharp from 'sharp'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { openDecoder } from '../helpers/decoder.ts'
import * as make from '../helpers/make.ts'
import { inTier, times } from '../helpers/tiers.ts'

// Small files that unpack to more than there is. What their header says is enough to refuse them; what it conceals is
// stopped by the limits of the process.

// Less memory than a worker gives it, so that smaller bombs do.
const decoder = openDecoder(t, { memory: 400 * 2 ** 20 })

const verdictOf = (_name: string, file: Buffer) => decoder.examine(file)

/** A JPEG, GIF or PNG of a few pixels whose header says another size. */
function resized(
  file: Buffer,
  mark: string,
  offset: number,
  write: (file: Buffer<ArrayBuffer>, at: number) => void,
) {
  const bytes = Buffer.from(file)
  write(bytes, bytes.indexOf(Buffer.from(mark, 'latin1')) + offset)
  return bytes
}

function pngOf(
  width: number,
  height: number,
  bits: number,
  colour: number,
  rows: Buffer<ArrayBuffer>,
  more: Buffer[] = [],
) {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = bits
  header[9] = colour
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    make.chunk('IHDR', header),
    ...more,
    make.chunk('IDAT', rows),
    make.chunk('IEND'),
  ])
}

const picture = make.picture(16, 16)
const jpeg = await picture.clone().jpeg().toBuffer()
const gif = await picture.clone().gif().toBuffer()
const webp = await picture.clone().webp({ lossless: true }).toBuffer()
const avif = await picture.clone().avif().toBuffer()
const white = (side: number) => ({
  create: { width: side, height: side, channels: 3 as const, background: 'white' },
})

/** A frame of a GIF: a graphic control and an image of one pixel. */
const frame = Buffer.from('21f90400010000002c000000000100010000020144 00'.replaceAll(' ', ''), 'hex')

/** Both its screen and its frame are of that size. */
const gifOf = (width: number, height: number) => {
  const size = (file: Buffer, at: number) => file.writeUInt32LE(height * 2 ** 16 + width, at)
  return resized(resized(gif, 'GIF8', 6, size), ',\0\0\0\0\x10\0\x10\0', 5, size)
}

/** An animation in WebP whose canvas is as large as may be, with many frames of a pixel. */
function webpFrames(frames: number, canvas: number) {
  const vp8l = webp.subarray(12)
  const chunk = (type: string, content: Buffer) => {
    const head = Buffer.from(`${type}\0\0\0\0`, 'latin1')
    head.writeUInt32LE(content.length, 4)
    return Buffer.concat([head, content, Buffer.alloc(content.length % 2)])
  }
  const extended = Buffer.alloc(10)
  extended[0] = 2
  extended.writeUIntLE(canvas - 1, 4, 3)
  extended.writeUIntLE(canvas - 1, 7, 3)
  const animated = Buffer.alloc(16)
  animated.writeUIntLE(15, 6, 3)
  animated.writeUIntLE(15, 9, 3)
  const body = Buffer.concat([
    Buffer.from('WEBP'),
    chunk('VP8X', extended),
    chunk('ANIM', Buffer.alloc(6)),
    ...Array<Buffer>(frames).fill(chunk('ANMF', Buffer.concat([animated, vp8l]))),
  ])
  const head = Buffer.from('RIFF\0\0\0\0')
  head.writeUInt32LE(body.length, 4)
  return Buffer.concat([head, body])
}

/** A page of one grey pixel. */
const PAGE = { 256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1 }

const svg = (content: string, root = 'width="100" height="100"', before = '') =>
  Buffer.from(`${before}<svg xmlns="http://www.w3.org/2000/svg" ${root}>${content}</svg>`)
const LAUGHS = Array.from({ length: 12 }, (_, n) => n)
const entities = `<!DOCTYPE svg [<!ENTITY e0 "<rect/>">${LAUGHS.map((n) => `<!ENTITY e${n + 1} "${`&e${n};`.repeat(10)}">`).join('')}]>`
const groups = LAUGHS.map((n) => `<g id="g${n + 1}">${`<use href="#g${n}"/>`.repeat(10)}</g>`).join('')

inTier.default('an image that declares too many pixels is not decoded', async (t) => {
  for (const [name, file] of Object.entries({
    'JPEG of 65,500 x 65,500': resized(jpeg, '\xff\xc0', 5, (file, at) => file.writeUInt32BE(0xffdcffdc, at)),
    'PNG of 2 billion x 2 billion': pngOf(2 ** 31 - 1, 2 ** 31 - 1, 8, 2, deflateSync(Buffer.alloc(100))),
    'PNG of 30,000 x 30,000': pngOf(30_000, 30_000, 1, 0, deflateSync(Buffer.alloc(3751 * 30_000))),
    'APNG of 2 billion frames': pngOf(9, 9, 8, 0, deflateSync(Buffer.alloc(90)), [
      make.chunk('acTL', Buffer.from('7fffffff00000000', 'hex')),
    ]),
    'GIF of 65,535 x 65,535': gifOf(0xffff, 0xffff),
    'GIF of 20,000 frames': Buffer.concat([
      gif.subarray(0, -1),
      ...Array<Buffer>(20_000).fill(frame),
      Buffer.from(';'),
    ]),
    'GIF of 1,000 frames of 4,000 x 4,000': Buffer.concat([
      gifOf(4000, 4000).subarray(0, -1),
      ...Array<Buffer>(1000).fill(frame),
      Buffer.from(';'),
    ]),
    'WebP of 15,000 frames': webpFrames(15_000, 16),
    'WebP of 100 frames of 16,000 x 16,000': webpFrames(100, 16_000),
    'AVIF of 4 billion x 4 billion': resized(avif, 'ispe', 8, (file, at) => file.fill(0xff, at, at + 8)),
    'AVIF of 60,000 x 60,000': resized(avif, 'ispe', 8, (file, at) => {
      file.writeUInt32BE(60_000, at)
      file.writeUInt32BE(60_000, at + 4)
    }),
    'TIFF of 100,000 x 100,000': make.tiff({ ...PAGE, 256: 100_000, 257: 100_000 }),
    'TIFF of 20,000 pages': make.tiff(PAGE, { pages: Array(19_999).fill(PAGE) }),
    'SVG of a million x a million': svg('<rect width="9" height="9"/>', 'width="1000000" height="1000000"'),
    'SVG of 20 MB': svg(' '.repeat(20_000_000)),
  })) {
    const start = performance.now()
    const { status } = await verdictOf(name, file)
    const milliseconds = performance.now() - start
    t.match(status, /failed|corrupt|rejected/, name)
    t.ok(milliseconds < 5000, `${name}: ${Math.round(milliseconds)} ms, ${file.length} bytes`)
  }
})

// In `npm test`, every sixth of them.
const SHARE = times(6, 1)
t.test('an image that conceals its size uses no more than the limits of its process', async (t) => {
  for (const [name, makeFile, verdict] of (
    [
      [
        'PNG of 9,000 x 9,000, of 16 bits',
        () => pngOf(9000, 9000, 16, 2, deflateSync(Buffer.alloc(54_001 * 9000))),
        /ready|failed/,
      ],
      ['PNG whose pixels unpack to 400 MB', () => pngOf(9, 9, 8, 0, deflateSync(Buffer.alloc(4e8))), /ready/],
      [
        'WebP of 9,000 x 9,000',
        () => sharp(white(9000)).webp({ lossless: true, effort: 0 }).toBuffer(),
        /ready|failed/,
      ],
      [
        'progressive JPEG of 5,000 x 5,000',
        () => sharp(white(5000)).jpeg({ progressive: true }).toBuffer(),
        /ready|failed/,
      ],
      ['AVIF of 3,000 x 3,000', () => sharp(white(3000)).avif({ effort: 0 }).toBuffer(), /ready|failed/],
      [
        'TIFF in one strip of 5,000 x 5,000',
        () => sharp(white(5000)).tiff({ compression: 'deflate' }).toBuffer(),
        /ready|failed/,
      ],
      ['SVG of entities of entities', () => svg('&e12;', undefined, entities), /failed/],
      [
        'SVG of groups of groups',
        () => svg(`<defs><rect id="g0" width="1" height="1"/>${groups}</defs><use href="#g12"/>`),
        /failed/,
      ],
      ['SVG of elements in elements', () => svg('<g>'.repeat(100_000)), /failed/],
      [
        'SVG with a wide blur',
        () =>
          svg(
            '<filter id="f"><feGaussianBlur stdDeviation="9999999"/></filter><rect filter="url(#f)" width="99" height="99"/>',
            'width="9000" height="9000"',
          ),
        /ready|failed/,
      ],
      [
        'SVG with much turbulence',
        () =>
          svg(
            '<filter id="f"><feTurbulence numOctaves="9999999"/></filter><rect filter="url(#f)" width="9999" height="9999"/>',
            'width="9000" height="9000"',
          ),
        /ready|failed/,
      ],
      [
        'SVG with a large picture in it',
        () =>
          svg(
            `<image href="data:image/png;base64,${pngOf(16_000, 16_000, 1, 0, deflateSync(Buffer.alloc(2001 * 16_000))).toString('base64')}" width="9" height="9"/>`,
          ),
        /ready|failed/,
      ],
      ['packed SVG', () => gzipSync(svg('<rect/>')), undefined],
    ] as const
  ).filter((_, n) => n % SHARE === 0)) {
    const file = await makeFile()
    if (!verdict) {
      t.equal(await sniff(file.subarray(0, HEAD_BYTES)), undefined, `${name} is none`)
      continue
    }
    const start = performance.now()
    const outcome = await verdictOf(name, file).catch(({ message }: Error) => ({ status: message }))
    const milliseconds = performance.now() - start
    t.match(
      outcome.status,
      verdict,
      `${name}: ${JSON.stringify(outcome)}, ${Math.round(milliseconds)} ms, ${file.length} bytes`,
    )
  }
})

inTier.default('the decoder works after these images', async (t) => {
  t.match(await verdictOf('good', jpeg), { status: 'ready' })
})
