import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import ExifReader from 'exifreader'
import sharp from 'sharp'
import type { Test } from 'tap'
import { sniff } from '../../../formats/detect.ts'
import { planWithoutMetadata, readPlan, strippable } from '../../../formats/strip/index.ts'
import { inTier, tier } from '../../helpers/tiers.ts'
import { addMetadata, makePictures, opener, type Picture, pixels, SECRET, seeded, strip } from './pictures.ts'

const CHUNK_BYTES = [1, 1000, 65_536]
/** In the test of memory, each has 64 KiB. */
const PARTS = 1024
const pictures = await makePictures()
const laden = Object.entries(pictures).map(
  ([name, picture]) => [name, { ...picture, bytes: addMetadata(picture) }] as const,
)

/** Checks a copy without metadata. */
async function checkStripped(t: Test, original: Picture, stripped: Buffer, orientation: number | undefined) {
  t.notOk(stripped.includes(SECRET), 'no metadata')
  t.ok((await pixels(stripped)).equals(await pixels(original.bytes)), 'same pixels')
  const [was, is] = [await sharp(original.bytes).metadata(), await sharp(stripped).metadata()]
  t.equal(is.orientation, orientation, 'same orientation')
  t.same(is.icc, was.icc, 'same colour profile, byte by byte')
  t.match(is, { format: was.format, width: was.width, height: was.height, pages: was.pages })
  t.notOk(is.xmp || is.iptc || is.comments, 'sharp finds no other metadata')
  const { exif, gps, xmp, iptc } = ExifReader.load(stripped, { expanded: true })
  t.strictSame({ gps, xmp, iptc }, { gps: undefined, xmp: undefined, iptc: undefined })
  t.strictSame(Object.keys(exif ?? {}), orientation === undefined ? [] : ['Orientation'])
  const again = await strip({ ...original, bytes: stripped })
  t.ok(again.equals(stripped), 'there is nothing left to strip')
}

for (const [name, original] of laden) {
  inTier.default(`${name} loses its metadata and keeps everything else`, async (t) => {
    t.ok(original.bytes.includes(SECRET))
    // Browsers do not turn a WebP by its Exif.
    await checkStripped(
      t,
      original,
      await strip(original),
      original.mediaType === 'image/webp' ? undefined : 6,
    )
  })

  inTier.default(`${name} in chunks of any size gives the same bytes`, async (t) => {
    const whole = await strip(original)
    for (const chunkBytes of CHUNK_BYTES)
      t.ok(whole.equals(await strip(original, chunkBytes)), `${chunkBytes}`)
  })

  inTier.default(`${name} is read in ranges`, async (t) => {
    const whole = await strip(original)
    const open = opener(original.bytes, 1000)
    const plan = await planWithoutMetadata(original.mediaType, open)
    t.equal(plan.size, whole.length, 'the size is known before')
    const random = seeded(1)
    const places = [0, 1, 3, whole.length - 1, ...Array.from({ length: 8 }, () => random(whole.length))]
    for (const one of places) {
      for (const other of places) {
        const range = { start: Math.min(one, other), end: Math.max(one, other) }
        const got = await buffer(await readPlan(plan, open, range))
        if (!got.equals(whole.subarray(range.start, range.end + 1))) t.fail(`${range.start}-${range.end}`)
      }
    }
  })
}

for (const [name, picture] of Object.entries(pictures)) {
  inTier.default(`${name} without metadata is not changed`, async (t) => {
    const plan = await planWithoutMetadata(picture.mediaType, opener(picture.bytes))
    const kept = plan.pieces.reduce((sum, piece) => sum + (Buffer.isBuffer(piece) ? piece.length : 0), 0)
    t.ok(kept <= 12 + 18 + 18, 'except its header')
    t.ok(plan.pieces.length <= 5, 'what stands together is one piece')
    const stripped = await strip(picture)
    // sharp writes its own Exif (of resolution and the like) into a JPEG and a WebP.
    if ((await sharp(picture.bytes).metadata()).exif) t.ok(stripped.length < picture.bytes.length)
    else t.ok(stripped.equals(picture.bytes))
  })
}

const secretTags = [
  '-Orientation#=6',
  '-GPSLatitude=52.5',
  '-GPSLatitudeRef=N',
  '-GPSLongitude=13.4',
  '-GPSLongitudeRef=E',
  `-GPSAreaInformation=${SECRET}`,
  `-Make=${SECRET}`,
  `-SerialNumber=${SECRET}`,
  `-UserComment=${SECRET}`,
  `-XMP:City=${SECRET}`,
  `-IPTC:City=${SECRET}`,
  `-Comment=${SECRET}`,
]

inTier.default('each orientation is kept, and 1 needs no Exif', async (t) => {
  for (const kind of ['baseline JPEG', 'PNG', 'lossy WebP']) {
    for (let orientation = 1; orientation <= 8; orientation++) {
      const { mediaType, bytes: plain } = pictures[kind]!
      const bytes = await sharp(plain).withMetadata({ orientation }).toBuffer()
      const { orientation: kept } = await sharp(await strip({ mediaType, bytes })).metadata()
      const expected = orientation === 1 || mediaType === 'image/webp' ? undefined : orientation
      t.equal(kept, expected, `${kind} ${orientation}`)
    }
  }
})

const samples = new URL('../../../../shared/samples/', import.meta.url)
// In `npm test` without ExifTool, which takes most of the time.
;(tier === 'engines' ? inTier.engines : inTier.default)(
  'photographs of the samples lose their metadata',
  { skip: existsSync(samples) ? false : 'no ../shared/samples' },
  async (t) => {
    const damaged = ['ft_fixture_fixture-corrupt.png']
    for (const name of readdirSync(samples)) {
      const bytes = readFileSync(new URL(name, samples))
      const { mediaType = '' } = (await sniff(bytes.subarray(0, 4100))) ?? {}
      if (!strippable.has(mediaType)) continue
      await t.test(name, async (t) => {
        if (damaged.includes(name)) return t.rejects(strip({ mediaType, bytes }), { name: 'CannotStrip' })
        const { orientation } = await sharp(bytes).metadata()
        const kept = orientation === 1 ? undefined : orientation
        const stripped = await strip({ mediaType, bytes })
        await checkStripped(t, { mediaType, bytes }, stripped, kept)
        if (exiftool && tier === 'engines')
          t.strictSame(metadataTagsOf(stripped), kept === undefined ? [] : ['IFD0:Orientation'])
      })
    }
  },
)

inTier.default('refuses other formats without opening the file', async (t) => {
  const open = () => t.fail('opened') as never
  for (const mediaType of ['image/gif', 'image/avif', 'image/heic', 'image/tiff', 'image/svg+xml']) {
    t.notOk(strippable.has(mediaType))
    await t.rejects(planWithoutMetadata(mediaType, open), {
      name: 'CannotStrip',
      message: /without encoding it again/,
    })
  }
})

inTier.default('closes the original after success and after errors', async (t) => {
  const { mediaType, bytes } = laden[0]![1]
  const opened: Readable[] = []
  const open = (bytes: Buffer) => async () => {
    const source = Readable.from([bytes.subarray(0, 5000), bytes.subarray(5000)], { objectMode: false })
    opened.push(source)
    return source
  }
  const plan = await planWithoutMetadata(mediaType, open(bytes))
  await t.rejects(planWithoutMetadata(mediaType, open(Buffer.alloc(10))))
  const abandoned = await readPlan(plan, open(bytes))
  abandoned.destroy()
  await new Promise((resolve) => abandoned.once('close', resolve))
  t.strictSame(
    opened.map(({ destroyed }) => destroyed),
    [true, true, true],
  )
})

inTier.default('passes on errors of the object store', async (t) => {
  const { mediaType, bytes } = laden[0]![1]
  const failing = async () => {
    const source = new Readable({ read() {} })
    source.push(bytes.subarray(0, 9000))
    setTimeout(() => source.destroy(new Error('the store is unavailable')), 20)
    return source
  }
  const missing = () => Promise.reject(new Error('there is no object'))
  const plan = await planWithoutMetadata(mediaType, opener(bytes))
  await t.rejects(planWithoutMetadata(mediaType, failing), { message: 'the store is unavailable' })
  await t.rejects(planWithoutMetadata(mediaType, missing), { message: 'there is no object' })
  await t.rejects(readPlan(plan, missing), { message: 'there is no object' })
  await t.rejects(buffer(await readPlan(plan, failing)), { message: 'the store is unavailable' })
  const short = async () => Readable.from([bytes.subarray(0, 9000)], { objectMode: false })
  await t.rejects(buffer(await readPlan(plan, short)), { message: /shorter than its plan/ })
})

inTier.default('needs little memory for a file of 64 MiB', async (t) => {
  const { bytes } = pictures['baseline JPEG']!
  const scan = Buffer.alloc(65_536, 'no byte of this is FF ')
  const size = bytes.length - 2 + PARTS * scan.length + 2
  const collect = collector()
  let peak = 0
  const open = async ({ start } = { start: 0 }) =>
    Readable.from(
      (function* () {
        yield bytes.subarray(start, -2)
        for (let n = 0; n < PARTS; n++) {
          if (n % 256 === 255) {
            collect()
            peak = Math.max(peak, process.memoryUsage().arrayBuffers)
          }
          yield Buffer.from(scan)
        }
        yield bytes.subarray(-2)
      })(),
      { objectMode: false },
    )
  collect()
  const before = process.memoryUsage().arrayBuffers
  const plan = await planWithoutMetadata('image/jpeg', open)
  t.ok(plan.size > 64 * 2 ** 20 && plan.size <= size)
  let read = 0
  for await (const chunk of await readPlan(plan, open)) read += chunk.length
  t.equal(read, plan.size)
  t.ok(peak > 0 && peak - before < 24 * 2 ** 20, `${(peak - before) / 2 ** 20} MiB at most`)
})

inTier.default('is sent over HTTP with its length', async (t) => {
  const [, original] = laden.find(([name]) => name === 'animated WebP')!
  const open = opener(original.bytes)
  const server = createServer(async (_request, response) => {
    const plan = await planWithoutMetadata(original.mediaType, open)
    response.setHeader('content-length', plan.size)
    ;(await readPlan(plan, open)).pipe(response)
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.ok(Buffer.from(await answer.arrayBuffer()).equals(await strip(original)))
})

/** Collects garbage, so that what is left is held by someone. */
function collector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
}

function findExiftool() {
  try {
    return execFileSync('exiftool', ['-ver']).toString()
  } catch {
    return undefined
  }
}

const tagsOf = (bytes: Buffer) =>
  Object.keys(
    JSON.parse(
      execFileSync('exiftool', ['-j', '-G1', '-a', '-u', '-'], {
        input: bytes,
        maxBuffer: 2 ** 24,
      }).toString(),
    )[0],
  )

/** The tags that say more than how the picture is coded and in which colours. */
const metadataTagsOf = (bytes: Buffer) => tagsOf(bytes).filter((tag) => !CODING.test(tag))
const CODING =
  /^(SourceFile$|(ExifTool|System|Composite|JFIF|Adobe|ICC[-_]\w+|PNG-pHYs):|File:(?!Comment)|RIFF:|PNG:(Image(Width|Height)|BitDepth|ColorType|Compression|Filter|Interlace|ProfileName|Palette|Transparency|AnimationFrames|AnimationPlays|Gamma|SRGBRendering|SignificantBits|BackgroundColor|WhitePoint[XY]|(Red|Green|Blue)[XY])$)/

const exiftool = findExiftool()
for (const [name, picture] of Object.entries(pictures)) {
  inTier.engines(
    `${name} with metadata by ExifTool has none of it in the copy`,
    { skip: exiftool ? false : 'exiftool is not installed' },
    async (t) => {
      const thumbnail = `${t.testdir({ 'thumbnail.jpg': pictures['grey JPEG']!.bytes })}/thumbnail.jpg`
      const bytes = execFileSync(
        'exiftool',
        ['-q', '-q', ...secretTags, `-ThumbnailImage<=${thumbnail}`, '-o', '-', '-'],
        { input: picture.bytes, maxBuffer: 2 ** 24 },
      )
      t.ok(tagsOf(bytes).some((tag) => tag.startsWith('GPS:')))
      const original = { ...picture, bytes }
      const stripped = await strip(original)
      const isWebp = original.mediaType === 'image/webp'
      await checkStripped(t, original, stripped, isWebp ? undefined : 6)
      t.strictSame(metadataTagsOf(stripped), isWebp ? [] : ['IFD0:Orientation'])
    },
  )
}
