import { existsSync, readFileSync } from 'node:fs'
import sharp from 'sharp'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../../formats/detect.ts'
import { readMetadata } from '../../../formats/metadata.ts'
import { firstFrame } from '../../../formats/render/first-frame.ts'
import { render } from '../../../formats/render/render.ts'
import { Unrenderable } from '../../../formats/render/unrenderable.ts'
import * as make from '../../helpers/make.ts'

async function shown(file: Buffer) {
  const metadata = await readMetadata(file, (await sniff(file.subarray(0, HEAD_BYTES)))!)
  const made = await render(file, metadata, { fit: 'inside', format: 'png', quality: 100 })
  const { data, info } = await sharp(made.bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const colourAt = (n: number) => [...data.subarray(n * info.channels, (n + 1) * info.channels)]
  return { ...info, colourAt }
}

const near = (colour: number[], expected: number[]) =>
  colour.every((value, n) => Math.abs(value - expected[n]!) <= 12)

t.test('a sequence of AVIF without a still picture is shown as its first frame', async (t) => {
  const stills = await Promise.all(
    ['#e02040', '#20c040'].map((background) =>
      sharp({ create: { width: 64, height: 48, channels: 3, background } })
        .avif({ quality: 90 })
        .toBuffer(),
    ),
  )
  const file = make.sequenceOf(stills, { brand: 'avis', coding: 'av01', configuration: 'av1C' })
  const { width, height, colourAt } = await shown(file)
  t.strictSame([width, height], [64, 48])
  t.ok(near(colourAt(0), [0xe0, 0x20, 0x40]), `${colourAt(0)}`)
})

t.test('a sequence whose frames cannot be found is refused, however it is damaged', async (t) => {
  const still = await sharp({ create: { width: 64, height: 48, channels: 3, background: '#e02040' } })
    .avif()
    .toBuffer()
  const file = make.sequenceOf([still, still], { brand: 'avis', coding: 'av01', configuration: 'av1C' })
  const moov = file.indexOf('moov')
  let refused = 0
  for (let at = moov; at < file.length; at++) {
    const damaged = Buffer.from(file)
    damaged[at]! ^= 0xff
    for (const other of at % 7 === 0 ? [damaged, file.subarray(0, at)] : [damaged])
      await firstFrame(other).catch((error) => {
        refused++
        if (!(error instanceof Unrenderable)) t.fail(`byte ${at}: ${error}`)
      })
  }
  t.ok(refused > 50, `${refused} refused`)
})

t.test('a JPEG that is cut off between two scans is shown by the scans before', async (t) => {
  const background = '#e02040'
  const jpeg = await sharp({ create: { width: 64, height: 48, channels: 3, background } })
    .jpeg({ progressive: true })
    .toBuffer()
  const { width, height, colourAt } = await shown(
    jpeg.subarray(0, jpeg.lastIndexOf(Buffer.of(0xff, 0xda)) + 5),
  )
  t.strictSame([width, height], [64, 48])
  t.ok(near(colourAt(100), [0xe0, 0x20, 0x40]), `${colourAt(100)}`)
})

t.test('a PSD of Lab has the colours of D50', async (t) => {
  // Lab of Bruce Lindbloom's calculator for sRGB with the white of D50.
  const colours: [lab: number[], rgb: number[]][] = [
    [
      [54.29, 80.81, 69.89],
      [255, 0, 0],
    ],
    [
      [87.82, -79.29, 80.99],
      [0, 255, 0],
    ],
    [
      [29.57, 68.3, -112.03],
      [0, 0, 255],
    ],
    [
      [53.39, 0, 0],
      [127, 127, 127],
    ],
    [
      [100, 0, 0],
      [255, 255, 255],
    ],
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
  ]
  const planes = [0, 1, 2].map((channel) =>
    Buffer.from(colours.map(([lab]) => Math.round(channel === 0 ? lab[0]! * 2.55 : lab[channel]! + 128))),
  )
  const size = { width: colours.length, height: 1 }
  const wide = planes.map((plane) => Buffer.from([...plane].flatMap((value) => [value, value])))
  for (const [bits, file] of [
    [8, make.mergedPsd(9, 8, size, planes)],
    [16, make.mergedPsd(9, 16, size, wide)],
  ] as const) {
    const { colourAt } = await shown(file)
    for (const [n, [, rgb]] of colours.entries())
      t.ok(near(colourAt(n), rgb), `${bits} bits: ${colourAt(n)} for ${rgb}`)
  }
})

t.test('a PSD of single bits is black where they are set', async (t) => {
  const { width, colourAt } = await shown(
    make.mergedPsd(0, 1, { width: 10, height: 2 }, [Buffer.from('aac05540', 'hex')]),
  )
  t.equal(width, 10)
  const bits = Array.from({ length: 20 }, (_, n) => (colourAt(n)[0] === 0 ? 1 : 0)).join('')
  t.equal(bits, '10101010110101010101')
})

const LOGL = new URL('../../../../shared/cases/pictures/tiff-logl-72k.tif', import.meta.url)
t.test(
  'a picture that no decoder supports is refused as such, and not as damaged',
  { skip: !existsSync(LOGL) && 'the case is not here' },
  async (t) => {
    await t.rejects(shown(readFileSync(LOGL)), { kind: 'unsupported', message: /does not support this kind/ })
    await t.rejects(shown(readFileSync(new URL('tiff-planar-ycbcr.tif', LOGL))), {
      kind: 'unsupported',
      message: /tiff2vips: Sorry, can not handle image/,
    })
    const size = { width: 2, height: 1 }
    const plane = Buffer.from([1, 2])
    await t.rejects(shown(make.mergedPsd(7, 8, size, [plane, plane])), {
      message: /PSD of mode 7 with 8 bits/,
    })
    await t.rejects(shown(make.mergedPsd(3, 32, size, Array(3).fill(Buffer.alloc(8)))), {
      message: /PSD of mode 3 with 32 bits/,
    })
  },
)
