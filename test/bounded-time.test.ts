import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { deflateSync } from 'node:zlib'
import t from 'tap'
import { compareLength } from '../formats/declared-length.ts'
import { HEAD_BYTES, sniff } from '../formats/detect.ts'
import { profileName } from '../formats/headers/colour.ts'
import { readXmp } from '../formats/headers/xmp.ts'
import { readMetadata } from '../formats/metadata.ts'
import { readStart } from '../formats/start.ts'
import { planWithoutMetadata, strippable } from '../formats/strip/index.ts'
import { isFresh, rangeOf } from '../routes/images/conditional.ts'
import { networksOf } from '../services/access/address.ts'
import { toPageRequest } from '../services/cursor.ts'
import { addDuration } from '../services/links/expiry.ts'
import { parseDigests } from '../services/uploads/digests.ts'
import { readDisposition } from '../services/uploads/disposition.ts'
import { cleanName } from '../services/uploads/names.ts'
import { negotiate } from '../services/variants/negotiate.ts'
import { isWithin } from './helpers/cpu.ts'
import * as make from './helpers/make.ts'
import { mutateFile, mutateText } from './helpers/mutations.ts'
import { type Random, seeded } from './helpers/random.ts'
import { seed, times } from './helpers/tiers.ts'

// This file has a name that comes early, because at the end of the campaign only one file would run.
//
// Searches for inputs that occupy a process for long. Inputs are mutated, and those that take the most time are mutated
// again, so that the search climbs towards slow ones. The campaign takes 10 minutes, or as long as the variable below says:
// TIME_FUZZ_SECONDS=60 npm run test:campaign -- test/bounded-time.test.ts
// Inputs above the budget are kept in build/slow-inputs, and the next runs begin with them too.

/** For what the API process itself does with a part or a field. */
const API_MS = 5
/** For a sandboxed process. After this time the image becomes pending. */
const SANDBOX_MS = 1_000
const SECONDS = times(2, Number(process.env.TIME_FUZZ_SECONDS ?? 600))
t.setTimeout(180_000 + SECONDS * 1_000)
const SLOW_INPUTS = new URL('../build/slow-inputs/', import.meta.url)
const HOSTILE = new URL('../../shared/cases/hostile/', import.meta.url)
/** The slowest inputs of a target, from which the next ones are made. */
const KEPT = 20
const MAX_BYTES = 65_536
/** How often an input over the budget is measured again. */
const CONFIRMATIONS = 50

interface Target {
  budget: number
  seeds: Buffer[]
  mutate(input: Buffer, random: Random): Buffer
  /** Resolves with its own measure if that is not its CPU time. */
  run(input: Buffer): unknown
}

const files = await seedFiles()
const detected = await Promise.all(files.map(async (file) => sniff(file.subarray(0, HEAD_BYTES))))
const ofFormat = (...formats: string[]) => files.filter((_, n) => formats.includes(detected[n]?.format ?? ''))

const onFile = (seeds: Buffer[], run: Target['run'], budget = API_MS): Target => ({
  budget,
  seeds,
  mutate: (input, random) => mutateFile(input, random).subarray(0, MAX_BYTES),
  run,
})
const onText = (seeds: string[], run: (text: string) => unknown): Target => ({
  budget: API_MS,
  seeds: seeds.map((text) => Buffer.from(text, 'latin1')),
  // The longest header field of a request has 16 KiB.
  mutate: (input, random) => mutateText(input, random).subarray(0, 16_384),
  run: (input) => run(input.toString('latin1')),
})
/** The most CPU time between two turns of the event loop while a promise is pending, in milliseconds. */
async function longestTurn(work: Promise<unknown>) {
  let isDone = false
  const finish = () => {
    isDone = true
  }
  const done = work.then(finish, finish)
  let longest = 0
  for (let before = process.threadCpuUsage(); !isDone; before = process.threadCpuUsage()) {
    await new Promise(setImmediate)
    const { user, system } = process.threadCpuUsage(before)
    longest = Math.max(longest, (user + system) / 1_000)
  }
  await done
  return longest
}
const quietly = (work: () => unknown) => {
  try {
    work()
  } catch {
    // Only the time counts.
  }
}

const image = { etag: '"abc"', receivedAt: new Date(0), isOriginal: true } as Parameters<typeof isFresh>[1]

const targets: Record<string, Target> = {
  'the detection of the format': onFile(files, (file) => sniff(file.subarray(0, HEAD_BYTES))),
  'the start of a JPEG': onFile(ofFormat('JPEG'), (file) =>
    readStart(file, { format: 'JPEG', mediaType: 'image/jpeg' }),
  ),
  'the declared length': onFile(ofFormat('BMP', 'ICO', 'PSD', 'JPEG 2000', 'JPEG XL', 'CR3'), async (file) =>
    compareLength(file, (await sniff(file.subarray(0, HEAD_BYTES))) ?? { format: 'PSD' }),
  ),
  // It gives other requests their turn after every 64 headers. So its longest turn counts.
  'the plan without metadata': onFile(ofFormat('JPEG', 'PNG', 'APNG', 'WebP'), async (file) => {
    const { mediaType = '' } = (await sniff(file.subarray(0, HEAD_BYTES))) ?? {}
    if (!strippable.has(mediaType)) return 0
    return longestTurn(planWithoutMetadata(mediaType, async () => Readable.from([file])))
  }),
  'the metadata, in a sandboxed process': onFile(
    files,
    async (file) => {
      const format = await sniff(file.subarray(0, HEAD_BYTES))
      if (format) await readMetadata(file, format).catch(() => {})
    },
    SANDBOX_MS,
  ),
  'XMP, in a sandboxed process': onFile(xmpSeeds(), (packet) => readXmp(packet, {}), SANDBOX_MS),
  'the name of a colour profile': onFile([profile()], profileName),
  'a digest': onText(['sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, sha=?1;a="b"'], (field) =>
    parseDigests([field]),
  ),
  'the header field of a part': onText(
    ['form-data; name="image"; filename="a.png"', `form-data; name=a; filename*=UTF-8''%E5%a.png`],
    readDisposition,
  ),
  'a name': onText(['=?utf-8?q?caf=C3=A9?=.jpg', 'C:\\fakepath\\a\u0301.png'], cleanName),
  'a condition': onText(['"a", W/"b" , *', '"abc"', 'Sat, 28 Nov 2026 00:00:00 GMT'], (text) => {
    for (const field of ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'])
      quietly(() => isFresh({ [field]: text }, image))
  }),
  'a range': onText(['bytes=0-9', 'bytes=-5', 'bytes=1-,3-4'], (range) =>
    rangeOf({ range, 'if-range': range }, image, 1_000),
  ),
  'a cursor': onText([Buffer.from(`1.${'a'.repeat(48)}`).toString('base64url')], (cursor) =>
    quietly(() => toPageRequest({ cursor })),
  ),
  'a duration': onText(['P1Y2M3DT4H5M6.5S', 'P2W'], (text) => void addDuration(text, 0)),
  'an address': onText(['192.0.2.1:80', '[2001:db8::1]:80', '::ffff:192.0.2.1'], networksOf),
  'a list of media types': onText(['image/avif,image/webp;q=0.9,*/*;q=0.1'], (accept) =>
    quietly(() => negotiate(accept, 'image/png')),
  ),
}

/** A small file of each format, files with text, profiles and XMP, and the known hostile ones. */
async function seedFiles(): Promise<Buffer[]> {
  const { chunk, picture, png, xmp } = make
  const text = Buffer.from('Comment\0A text.')
  const packet = xmp({ 'tiff:Make': 'M', 'exif:GPSLatitude': '52,1.5N', 'exif:GPSLongitude': '11,0E' })
  const compressed = deflateSync(packet)
  return [
    ...Object.values(await make.everyFormat()),
    png([
      chunk('tEXt', text),
      chunk('zTXt', Buffer.concat([Buffer.from('Raw profile type exif\0\0'), compressed])),
      chunk('iTXt', Buffer.concat([Buffer.from('XML:com.adobe.xmp\0\0\0\0\0'), packet])),
      chunk('iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(profile())])),
      chunk('eXIf', make.exif()),
    ]),
    // Many small chunks, and pixels of many beginnings of names.
    png(Array.from({ length: 2_000 }, () => chunk('gAMA', Buffer.alloc(4)))),
    png([chunk('IDAT', Buffer.alloc(60_000, 'IENDtEX'))]),
    await picture().withIccProfile('p3').webp().toBuffer(),
    await picture().withXmp(packet.toString()).webp().toBuffer(),
    await picture().withXmp(packet.toString()).tiff().toBuffer(),
    await picture().withIccProfile('p3').avif().toBuffer(),
    ...(await hostileFiles()),
  ]
}

async function hostileFiles() {
  try {
    const all = readdirSync(HOSTILE).map((name) => readFileSync(new URL(name, HOSTILE)))
    return all.filter(({ length }) => length <= MAX_BYTES)
  } catch {
    return []
  }
}

/** A profile whose tags all point to the same bytes. */
function profile() {
  const bytes = Buffer.alloc(4_000)
  bytes.write('acsp', 36)
  bytes.writeUInt32BE(300, 128)
  for (let tag = 0; tag < 300; tag++) {
    bytes.write('desc', 132 + 12 * tag)
    bytes.writeUInt32BE(3_800, 136 + 12 * tag)
  }
  return bytes
}

function xmpSeeds() {
  const packet = make.xmp({
    'tiff:Make': 'M',
    'tiff:Model': 'N',
    'exif:DateTimeOriginal': '2021-03-04T05:06:07',
  })
  const elements = packet
    .toString()
    .replace('<rdf:Description', '<!-- c --><![CDATA[x]]>&amp;<rdf:Description')
  return [
    packet,
    Buffer.from(elements),
    Buffer.concat([Buffer.of(0xff, 0xfe), Buffer.from(elements, 'utf16le')]),
  ]
}

/** The shortest CPU time of several runs, in milliseconds: other work of the process counts too. */
async function measure({ run, budget }: Target, input: Buffer, tries = 6) {
  let best = Number.POSITIVE_INFINITY
  for (let n = 0; n < tries && best > (n < 2 ? 0.2 : budget); n++) {
    const before = process.threadCpuUsage()
    const own = await run(input)
    const { user, system } = process.threadCpuUsage(before)
    best = Math.min(best, typeof own === 'number' ? own : (user + system) / 1_000)
  }
  return best
}

/** Compiles the code. */
async function warmUp(target: Target) {
  const end = performance.now() + times(40, 300)
  for (let n = 0; n < 200 && performance.now() < end; n++)
    for (const input of target.seeds) await target.run(input)
}

const fileName = (name: string) => name.replace(/\W+/g, '-')

function keepSlowInput(name: string, input: Buffer) {
  mkdirSync(SLOW_INPUTS, { recursive: true })
  const path = join(SLOW_INPUTS.pathname, `${fileName(name)}-${Date.now()}`)
  writeFileSync(path, input)
  return path
}

function readSlowInputs(name: string) {
  try {
    const names = readdirSync(SLOW_INPUTS).filter((file) => file.startsWith(`${fileName(name)}-`))
    return names.map((file) => readFileSync(new URL(file, SLOW_INPUTS)))
  } catch {
    return []
  }
}

t.setTimeout(0)
for (const [name, target] of Object.entries(targets)) {
  t.test(`no generated input occupies ${name} for more than ${target.budget} ms`, async (t) => {
    const random = seeded(seed)
    await warmUp(target)
    let slowest: { input: Buffer; milliseconds: number }[] = []
    for (const input of [...target.seeds, ...readSlowInputs(name)])
      slowest.push({ input, milliseconds: await measure(target, input) })
    const room = KEPT + slowest.length
    const end = performance.now() + (SECONDS * 1_000) / Object.keys(targets).length
    let tried = 0
    while (performance.now() < end) {
      let { input } = random.pick(slowest)
      for (let n = random.pick([1, 1, 2, 4]); n > 0; n--) input = target.mutate(input, random)
      slowest.push({ input, milliseconds: await measure(target, input) })
      slowest = slowest.sort((a, b) => b.milliseconds - a.milliseconds).slice(0, room)
      tried++
    }
    // The garbage of the search is collected in between. An input that is slow is so each time.
    for (const each of slowest)
      if (each.milliseconds > target.budget)
        each.milliseconds = await measure(target, each.input, CONFIRMATIONS)
    const [{ input, milliseconds }] = slowest.sort((a, b) => b.milliseconds - a.milliseconds) as [
      (typeof slowest)[0],
    ]
    t.comment(`${tried} inputs, the slowest took ${milliseconds.toFixed(2)} ms of CPU time`)
    const isQuick = isWithin(milliseconds, target.budget)
    t.ok(isQuick, isQuick ? name : `${milliseconds.toFixed(1)} ms: ${keepSlowInput(name, input)}`)
  })
}
