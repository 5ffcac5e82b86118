import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { brotliCompressSync, deflateSync } from 'node:zlib'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../../formats/detect.ts'
import { NotAnImage, readMetadata } from '../../../formats/metadata.ts'
import { cpuMilliseconds } from '../../helpers/cpu.ts'
import * as make from '../../helpers/make.ts'
import { times } from '../../helpers/tiers.ts'

t.setTimeout(300_000)

const CUTS = times(15, 50)
const MUTATIONS = times(50, 200)
/** Of each photograph: large files take most of the time. */
const CUTS_OF_SAMPLES = times(6, 50)
const MUTATIONS_OF_SAMPLES = times(15, 200)

const jpeg = await make.picture().jpeg().toBuffer()

/** The most CPU time that a verdict may take, in milliseconds: far above what it takes. */
const PATIENCE = 5000

/** The verdict on a file: metadata with sane numbers, or that it is no image; whatever else is a failure. */
async function judge(file: Buffer) {
  const start = cpuMilliseconds()
  let problem: string | undefined
  let verdict = 'not sniffed'
  try {
    const format = await sniff(file.subarray(0, HEAD_BYTES))
    if (format) {
      const metadata = await readMetadata(file, format)
      verdict = 'image'
      for (const [name, value] of Object.entries(metadata))
        if (value === undefined || (typeof value === 'number' && !Number.isFinite(value)))
          problem = `${name}: ${value}`
    }
  } catch (error) {
    if (error instanceof NotAnImage) verdict = 'not an image'
    else problem = (error as Error).stack
  }
  const duration = cpuMilliseconds() - start
  return { verdict, problem: problem ?? (duration > PATIENCE ? `${duration} ms` : undefined) }
}

t.test('hostile files that occupy a reader get a verdict quickly', async (t) => {
  const short = { 256: 9, 257: 9 }
  const bomb = (keyword: string) =>
    make.chunk('zTXt', Buffer.concat([Buffer.from(`${keyword}\0\0`), deflateSync(Buffer.alloc(8_000_000))]))
  const loop = make.tiff({ ...short, 330: [8, 8, 8], 34665: 8, 34853: 8, 40965: 8 }, { at: 8 })
  loop.writeUInt32LE(8, 4)
  const endless = make.tiff(short)
  endless.writeUInt32LE(endless.readUInt32LE(4), endless.length - 4)
  const counted = make.tiff({ ...short, 272: 'x'.repeat(50), 34853: { 1: 'N', 2: [[1, 1]] } })
  for (let at = 8; at < counted.length - 12; at++)
    if (counted.readUInt16LE(at) === 2 && counted.readUInt32LE(at + 2) === 51)
      counted.writeUInt32LE(0xffffffff, at + 2)
  const overlapping = Buffer.alloc(1_000_000)
  for (let at = 8; at < overlapping.length - 4; at += 4) overlapping.writeUInt32LE(at % 900_000, at)
  overlapping.write('II*\0', 'latin1')
  overlapping.writeUInt32LE(1000, 4)
  const chain = Buffer.alloc(3_000_000)
  chain.write('II*\0', 'latin1')
  chain.writeUInt32LE(8, 4)
  for (let at = 8; at + 60 < chain.length; at += 42) {
    chain.writeUInt16LE(3, at)
    ;[256, 257, 330].forEach((tag, i) => {
      chain.writeUInt16LE(tag, at + 2 + i * 12)
      chain.writeUInt16LE(4, at + 4 + i * 12)
      chain.writeUInt32LE(tag === 330 ? 16 : 1, at + 6 + i * 12)
      chain.writeUInt32LE(tag === 330 ? 2_000_000 : 5, at + 10 + i * 12)
    })
    chain.writeUInt32LE(at + 42, at + 38)
  }
  const profile = Buffer.alloc(200)
  profile.writeUInt32BE(profile.length)
  profile.write('acsp', 36)
  profile.writeUInt32BE(0xffffffff, 128)
  const packet = (content: string) => make.withXmp(jpeg, Buffer.from(`<x:xmpmeta Model="1">${content}`))
  const xml = (content: string, tail = '') =>
    make.tiff({
      ...short,
      700: Buffer.from(`${make.xmp({ 'tiff:Model': 'M' }).toString()}${content}${tail}`),
    })
  const brob = make.box('brob', Buffer.from('xml '), brotliCompressSync(Buffer.alloc(4_000_000)))
  const track = make.box('trak', ...Array(50).fill(make.box('mdia', ...Array(1900).fill(make.box('free')))))

  for (const [name, file, verdict] of [
    ['directories that point to themselves', loop, 'image'],
    ['a directory that is its own next', endless, 'image'],
    ['counts of 4 billion', counted, 'image'],
    ['directories that lie over each other', overlapping, 'not an image'],
    ['a chain of 70,000 pages', chain, 'image'],
    ['a profile with 4 billion tags', make.psd([[1039, profile]]), 'image'],
    ['text that unpacks to gigabytes', make.png(Array(300).fill(bomb('Raw profile type exif'))), 'image'],
    ['comments that unpack to gigabytes', make.png(Array(300).fill(bomb('Comment'))), 'image'],
    ['300,000 chunks', make.png(Array(300_000).fill(make.chunk('abCd'))), 'image'],
    [
      'a profile in PNG that unpacks to 100 MB',
      make.png([make.chunk('iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(Buffer.alloc(1e8))]))]),
      'image',
    ],
    ['packed boxes', make.jxl(...Array(1500).fill(brob)), 'not an image'],
    [
      'a million boxes',
      Buffer.concat([make.ftyp('avif', 'mif1'), ...Array(1_000_000).fill(make.box('free'))]),
      'not an image',
    ],
    [
      'boxes in boxes in boxes',
      Buffer.concat([make.ftyp('avif', 'mif1'), make.box('moov', ...Array(40).fill(track))]),
      'not an image',
    ],
    ['elements in elements', packet('<a>'.repeat(15_000)), 'image'],
    ['a packet that ends again and again', xml('<?xpacket end="'.repeat(100_000)), 'image'],
    ['a packet of a megabyte', xml('', `<!--${'x'.repeat(1_000_000)}-->`), 'image'],
    ['comments before SVG', Buffer.from('<!--a-->'.repeat(9000)), 'not sniffed'],
    [
      'a JPEG of nothing but marks',
      Buffer.concat([jpeg.subarray(0, 3), Buffer.alloc(20_000_000, 0xff)]),
      'not an image',
    ],
    [
      'a JPEG of 500,000 segments',
      Buffer.concat([jpeg.subarray(0, 2), ...Array(500_000).fill(Buffer.from([0xff, 0xe5, 0, 2]))]),
      'not an image',
    ],
  ] as [string, Buffer, string][])
    t.strictSame(await judge(file), { verdict, problem: undefined }, name)
})

/** Cuts and damages a file, in the same way in each run, and collects what goes wrong. */
async function mistreat(file: Buffer, cuts: number, mutations: number, next: () => number) {
  const problems = []
  const verdicts: Record<string, number> = {}
  for (let i = 0; i < cuts + mutations; i++) {
    const damaged = Buffer.from(file)
    // The header is what a reader goes by: two of three hit it.
    const reach = i % 3 === 0 ? file.length : Math.min(file.length, 4096)
    const at = () => Math.floor(next() * reach)
    if (i >= cuts)
      for (let flips = at() % 20; flips >= 0; flips--) damaged[at()]! ^= 1 << Math.floor(next() * 8)
    const { verdict, problem } = await judge(i < cuts ? damaged.subarray(0, at()) : damaged)
    if (problem) problems.push(`${i}: ${problem}`)
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
  }
  return { problems, verdicts }
}

t.test('every file that is cut or damaged gets a verdict', async (t) => {
  const next = make.random(1)
  for (const [name, file] of Object.entries(await make.everyFormat())) {
    const { problems, verdicts } = await mistreat(file, CUTS, MUTATIONS, next)
    t.strictSame(problems, [], name)
    t.ok(verdicts.image, `${name}: some are images still: ${JSON.stringify(verdicts)}`)
  }
})

const samples = new URL('../../../../shared/samples/', import.meta.url)
const skip = existsSync(samples) ? false : 'no ../shared/samples'

t.test('samples that are cut or damaged get a verdict', { skip }, async (t) => {
  const next = make.random(2)
  for (const name of readdirSync(samples).filter((name) => !/\.(json|md)$/.test(name))) {
    const file = readFileSync(new URL(name, samples))
    const { problems } = await mistreat(file, CUTS_OF_SAMPLES, MUTATIONS_OF_SAMPLES, next)
    t.strictSame(problems, [], name)
  }
})
