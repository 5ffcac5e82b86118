import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { createSniffer, FRONT_BYTES } from '../../../services/uploads/sniffer.ts'
import { imageReader } from '../../helpers/app.ts'
import { chunksOf } from '../../helpers/chunks.ts'
import { noSamples, sample } from '../../helpers/images.ts'
import * as make from '../../helpers/make.ts'
import { inTier, times } from '../../helpers/tiers.ts'

const MiB = 2 ** 20

async function pass(
  file: Buffer,
  {
    chunk = 65_536,
    inlineLimit = MiB,
    content = false,
  }: { chunk?: number; inlineLimit?: number; content?: boolean },
) {
  const sniffer = createSniffer(inlineLimit, imageReader.of('a'))
  try {
    for (const taken of chunksOf(file, chunk)) {
      const taking = sniffer.take(taken)
      if (taking) await taking
    }
    return await sniffer.end(content ? file : undefined)
  } catch (error) {
    return (error as { reason: string }).reason
  }
}

const jpeg = await make.picture().jpeg().toBuffer()
// Of more bytes than are held, and fewer than the limit.
const large = await make.picture(640, 480).png({ compressionLevel: 0 }).toBuffer()
const tags = make.READ_TAGS

inTier.default('a file up to the limit is read fully, a larger one by its front', async (t) => {
  t.match(await pass(jpeg, {}), { status: 'ready', metadata: { format: 'JPEG', width: 48, height: 32 } })
  t.match(await pass(jpeg, { inlineLimit: 0 }), { status: 'pending', metadata: { width: 48, height: 32 } })
  t.ok(large.length > FRONT_BYTES)
  const read = { format: 'PNG', width: 640, height: 480, bitDepth: 8 }
  t.match(await pass(large, { content: true }), { status: 'ready', metadata: read })
  t.match(await pass(large, { inlineLimit: 300_000 }), { status: 'pending', metadata: read })
  t.match(await pass(large, {}), { status: 'pending', metadata: read }, 'of a store that has it not at hand')
})

inTier.default('finds metadata at the end of a file if the file may be read fully', async (t) => {
  const late = Buffer.concat([large.subarray(0, -12), make.chunk('eXIf', make.exif()), large.subarray(-12)])
  // Browsers do not turn a PNG by Exif behind its pixels.
  const lateTags = { ...tags, orientation: undefined }
  t.match(await pass(late, { content: true }), { status: 'ready', metadata: lateTags })
  const front = await pass(late, { inlineLimit: 300_000, content: true })
  t.match(front, { status: 'pending', metadata: { width: 640, height: 480, cameraModel: undefined } })

  const tiff = make.tiff({ 256: 640, 257: 480, ...make.TAGS }, { at: FRONT_BYTES + 100 })
  t.match(await pass(tiff, { content: true }), { status: 'ready', metadata: { width: 640, ...tags } })
  t.strictSame(await pass(tiff, { inlineLimit: 0 }), {
    status: 'pending',
    metadata: { format: 'TIFF', mediaType: 'image/tiff' },
  })
})

inTier.default('the front does not show the number of frames', async (t) => {
  const gif = await make.animation(500).gif({ effort: 1, dither: 1 }).toBuffer()
  const film = Buffer.concat(Array.from({ length: Math.ceil((2 * FRONT_BYTES) / gif.length) }, () => gif))
  t.ok(film.length > FRONT_BYTES)
  const front = await pass(film, { inlineLimit: 0 })
  t.match(front, {
    status: 'pending',
    metadata: { width: 16, height: 16, frames: undefined, duration: undefined },
  })
})

inTier.default('rejects a file that is no image after its first bytes, a short one at its end', async (t) => {
  t.equal(await pass(randomBytes(100_000), {}), 'not_an_image')
  t.equal(await pass(Buffer.from('GIF89a'), {}), 'not_an_image')
  t.equal(await pass(Buffer.concat([jpeg.subarray(0, 20), randomBytes(10_000)]), {}), 'not_an_image')
  const sniffer = createSniffer(MiB, imageReader.of('a'))
  const taking = sniffer.take(randomBytes(5000))
  await t.rejects(taking!, { name: 'Rejection' })
})

inTier.default('holds only the front, for any limit and any sizes of chunks', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const held = async () => {
    // Buffers are let go by threads that take a while.
    for (let n = 0; n < 5; n++) {
      gc()
      await sleep(50)
    }
    return process.memoryUsage().arrayBuffers
  }
  for (const [image, most] of [
    [jpeg, 16_384], // its start has all metadata
    [large.subarray(0, 5000), FRONT_BYTES + 16_384],
  ] as const) {
    const chunk = Buffer.concat([image, Buffer.alloc(MiB)])
    const before = await held()
    const sniffers = Array.from({ length: 20 }, () => createSniffer(2 ** 30, imageReader.of('a')))
    for (const sniffer of sniffers) {
      await sniffer.take(Buffer.from(chunk))
      for (let n = 0; n < 3; n++) await sniffer.take(Buffer.alloc(MiB))
      for (let n = 0; n < 100; n++) sniffer.take(Buffer.alloc(1))
    }
    const each = ((await held()) - before) / sniffers.length
    t.comment(`${(each / 1024).toFixed(0)} KiB each`)
    t.ok(each < most)
  }
})

inTier.default('reads a JPEG by its start, or by more bytes if its header is longer', async (t) => {
  const comment = Buffer.concat([Buffer.from('fffefffe', 'hex'), Buffer.alloc(0xfffc)])
  const body = randomBytes(400_000)
  for (const comments of [0, 1, 3]) {
    const parts = [jpeg.subarray(0, 2), ...Array(comments).fill(comment), jpeg.subarray(2), body]
    const file = Buffer.concat(parts)
    const expected = { metadata: { format: 'JPEG', width: 48, height: 32 } }
    for (const chunk of [1000, 65_536]) {
      t.match(await pass(file, { chunk, content: true }), { status: 'ready', ...expected })
      t.match(await pass(file, { chunk, inlineLimit: 0 }), { status: 'pending', ...expected })
    }
    const status = comments === 0 ? 'ready' : 'pending'
    t.match(await pass(file, {}), { status, ...expected }, 'of a store that has it not at hand')
  }
})

const SIZES = [5000, 17, 1, 1000, 65_536].slice(0, times(2, 5))
t.test('the sizes of the chunks do not change the result for samples', { skip: noSamples }, async (t) => {
  const folder = new URL('../../../../shared/samples/', import.meta.url)
  for (const name of readdirSync(folder).filter((name) => !/\.(json|md)$/.test(name))) {
    const file = sample(name)
    for (const inlineLimit of [0, MiB]) {
      const [whole, ...others] = await Promise.all(
        [file.length, ...SIZES].map((chunk) => pass(file, { chunk, inlineLimit, content: true })),
      )
      for (const other of others) t.strictSame(other, whole, name)
    }
  }
})

interface Truth {
  SourceFile: string
  ImageWidth: number
  ImageHeight: number
  Model?: string
  GPSLatitude?: number
}

inTier.default(
  'the front of a large sample has its camera, size and location',
  { skip: noSamples },
  async (t) => {
    const truths: Truth[] = JSON.parse(
      readFileSync(new URL('../../../../shared/samples/truth.json', import.meta.url), 'utf8'),
    )
    const large = truths.filter(({ SourceFile }) => sample(SourceFile).length > FRONT_BYTES)
    let told = 0
    for (const truth of large) {
      const sniffed = await pass(sample(truth.SourceFile), { inlineLimit: 0 })
      const { metadata } = sniffed as Exclude<typeof sniffed, string>
      const same =
        metadata.width === truth.ImageWidth &&
        metadata.height === truth.ImageHeight &&
        metadata.cameraModel === truth.Model &&
        (truth.GPSLatitude === undefined || Math.abs(truth.GPSLatitude - metadata.latitude!) < 1e-6)
      if (same) told++
      else t.comment(`${truth.SourceFile}: ${JSON.stringify(metadata)}`)
    }
    t.ok(large.length > 0)
    t.ok(told / large.length >= 0.95, `${told} of ${large.length}`)
  },
)
