import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { HEAD_BYTES } from '../../services/formats.ts'
import { createHashing } from '../../services/hashing.ts'
import { createSniffer, type Sniffed } from '../../services/sniffer.ts'
import { chunksOf } from '../helpers/chunks.ts'
import { makeImage } from '../helpers/images.ts'

const MiB = 2 ** 20

/** What a sniffer says of bytes that come in chunks, or the reason for which it refuses them. */
async function verdict(bytes: Buffer, { size, inlineLimit }: { size: number; inlineLimit: number }) {
  const sniffer = createSniffer(inlineLimit)
  try {
    for (const chunk of chunksOf(bytes, size)) await sniffer.take(chunk)
    return await sniffer.end()
  } catch (error) {
    return (error as { reason: string }).reason
  }
}

const png = await makeImage('png', { width: 60, height: 40 })
const large = await makeImage('png', { width: 200, height: 150 })
const files: Record<string, { bytes: Buffer; format: string | undefined }> = {
  'a small PNG': { bytes: await makeImage('png'), format: 'PNG' },
  'a PNG': { bytes: png, format: 'PNG' },
  'a large PNG': { bytes: large, format: 'PNG' },
  'a JPEG': {
    bytes: await makeImage('jpeg', { width: 200, height: 100, model: 'Box 1' }),
    format: 'JPEG',
  },
  'a WebP': { bytes: await makeImage('webp', { width: 200, height: 100 }), format: 'WebP' },
  'a GIF': { bytes: await makeImage('gif', { width: 200, height: 100 }), format: 'GIF' },
  'a TIFF, whose directory comes last': {
    bytes: await makeImage('tiff', { width: 100, height: 100 }),
    format: 'TIFF',
  },
  'an AVIF': { bytes: await makeImage('avif', { width: 64, height: 64 }), format: 'AVIF' },
  'an SVG': {
    bytes: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>'),
    format: 'SVG',
  },
  nothing: { bytes: Buffer.alloc(0), format: undefined },
  'one byte': { bytes: Buffer.from([0xff]), format: undefined },
  'a text': { bytes: Buffer.from('no image at all\n'.repeat(2000)), format: undefined },
  'a page that is shorter than a head': {
    bytes: Buffer.from('<!doctype html><svg>'),
    format: undefined,
  },
  'random bytes': { bytes: Buffer.concat([Buffer.from('random'), randomBytes(20_000)]), format: undefined },
  'a page that begins like a GIF': { bytes: Buffer.from('GIF89a<script>alert(1)</script>'), format: 'GIF' },
}

t.test('the verdict does not depend on how the bytes are cut', async (t) => {
  for (const [name, { bytes, format }] of Object.entries(files)) {
    for (const inlineLimit of [0, 1000, MiB]) {
      const whole = await verdict(bytes, { size: bytes.length || 1, inlineLimit })
      for (const size of [1, 7, 1000, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 65_536]) {
        const got = await verdict(bytes, { size, inlineLimit })
        t.strictSame(got, whole, `${name} in chunks of ${size}, kept up to ${inlineLimit}`)
      }
      const isReady = bytes.length <= inlineLimit
      if (!format) t.equal(whole, 'not_an_image', name)
      else if (name === 'a page that begins like a GIF' && isReady) t.equal(whole, 'not_an_image', name)
      else t.match(whole, { status: isReady ? 'ready' : 'pending', metadata: { format } }, name)
    }
  }
})

t.test('what is kept is known whole, what is not is known by its format', async (t) => {
  t.match(await verdict(png, { size: 1000, inlineLimit: png.length }), {
    status: 'ready',
    metadata: { format: 'PNG', mediaType: 'image/png', width: 60, height: 40 },
  })
  t.strictSame(await verdict(png, { size: 1000, inlineLimit: png.length - 1 }), {
    status: 'pending',
    metadata: { format: 'PNG', mediaType: 'image/png' },
  } satisfies Sniffed)
})

t.test('what is no image is refused before it has passed', async (t) => {
  let read = 0
  const source = Readable.from(
    (function* () {
      for (; read < 100 * MiB; read += 65_536) yield Buffer.alloc(65_536, 'text ')
    })(),
  )
  const hashing = createHashing(['sha256'], createSniffer(MiB).take)
  hashing.stream.resume()
  await t.rejects(pipeline(source, hashing.stream), { name: 'Rejection', reason: 'not_an_image' })
  t.ok(read < MiB, `${read} bytes were read`)
})

t.test('it keeps no more than it says, however small the chunks', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const memory = async () => {
    for (let n = 0; n < 3; n++) {
      collect()
      await sleep(1) // what buffers had is freed beside
    }
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }

  for (const [name, { size, inlineLimit, bytes, most }] of Object.entries({
    'one byte at a time': { size: 1, inlineLimit: MiB, bytes: MiB / 4, most: MiB },
    'chunks of a network': { size: 65_536, inlineLimit: MiB, bytes: MiB, most: 3 * MiB },
    'a file over the limit': { size: 65_536, inlineLimit: MiB, bytes: 32 * MiB, most: MiB },
    'nothing is to be kept': { size: 65_536, inlineLimit: 0, bytes: 32 * MiB, most: MiB },
  })) {
    const sniffer = createSniffer(inlineLimit)
    const before = await memory()
    await sniffer.take(Buffer.from(large.subarray(0, HEAD_BYTES)))
    for (let passed = HEAD_BYTES; passed + size <= bytes; passed += size) {
      const looking = sniffer.take(Buffer.alloc(size))
      if (looking) await looking
    }
    const kept = (await memory()) - before
    t.ok(kept < most, `${name}: ${kept} bytes are kept`)
    await sniffer.end().catch(() => {}) // so that it is in use until here
  }
})
