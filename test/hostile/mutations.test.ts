import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { createDecoder } from '../../services/analysis/sandbox/decoder.ts'
import { detectSandbox } from '../../services/analysis/sandbox/levels.ts'
import { newFolder } from '../helpers/folder.ts'
import * as make from '../helpers/make.ts'
import { type Random, seeded } from '../helpers/random.ts'
import { seed, times } from '../helpers/tiers.ts'

// npm run test:campaign runs many. Give the seed of a run to repeat it.
const count = times(200, 10_000)
t.comment(`${count} mutations, seed ${seed}`)
t.setTimeout(0)

const DECODERS = 2
const MOST_MS = 5000
// Larger photographs only take longer. Those above the second limit are chosen less often, for the same reason.
const LARGEST_BYTES = 300_000
const LARGE_BYTES = 150_000
const SMALL_PER_LARGE = 3

const samples = new URL('../../../shared/samples/', import.meta.url)
const photographs = existsSync(samples)
  ? readdirSync(samples)
      .filter((name) => !/\.(json|md)$/.test(name))
      .map((name) => readFileSync(new URL(name, samples)))
      .filter(({ length }) => length <= LARGEST_BYTES)
  : []
const drawings = [
  await make.picture().jpeg({ progressive: true }).toBuffer(),
  await make.picture().png({ palette: true }).toBuffer(),
  await make.picture().webp({ lossless: true }).toBuffer(),
  await make.picture().tiff({ compression: 'lzw' }).toBuffer(),
  await make.picture().tiff({ compression: 'jpeg', tile: true }).toBuffer(),
  Buffer.from(
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><defs><filter id="f"><feGaussianBlur stdDeviation="2"/></filter></defs><g filter="url(#f)"><path d="M0 0L9 9Q1 2 3 4z" stroke="red" transform="scale(2)"/><text>a</text></g></svg>',
  ),
]
const files = [...Object.values(await make.everyFormat()), ...drawings, ...photographs].flatMap((file) =>
  Array<Buffer>(file.length > LARGE_BYTES ? 1 : SMALL_PER_LARGE).fill(file),
)

// What lengths, counts and offsets go wrong with.
const NUMBERS = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff]

type Mutate = (file: Buffer, random: Random) => Buffer

/** A position in a file. Half of the positions are at its start, in the header. */
const place = ({ length }: Buffer, { next }: Random) =>
  Math.floor(next() * (next() < 0.5 ? Math.min(length, 1024) : length))

const ways: Record<string, Mutate> = {
  'bits turned': (file, random) => {
    for (let flips = 1 + Math.floor(random.next() * 16); flips > 0; flips--)
      file[place(file, random)]! ^= 1 << Math.floor(random.next() * 8)
    return file
  },
  'a number put in': (file, random) => {
    const bytes = random.pick([1, 2, 4])
    const at = Math.min(place(file, random), file.length - bytes)
    if (at < 0) return file
    const value = random.pick(NUMBERS) % 2 ** (8 * bytes)
    if (random.next() < 0.5) file.writeUIntBE(value, at, bytes)
    else file.writeUIntLE(value, at, bytes)
    return file
  },
  'cut off': (file, random) => file.subarray(0, place(file, random)),
  'a piece taken out': (file, random) => {
    const at = place(file, random)
    return Buffer.concat([file.subarray(0, at), file.subarray(at + Math.floor(random.next() * 64))])
  },
  'a piece repeated': (file, random) => {
    const at = place(file, random)
    const piece = file.subarray(at, at + 1 + Math.floor(random.next() * 512))
    return Buffer.concat([file.subarray(0, at), piece, file.subarray(at)])
  },
  'a piece of another file put in': (file, random) => {
    const other = random.pick(files)
    const [at, from] = [place(file, random), place(other, random)]
    other.copy(file, at, from, from + Math.floor(random.next() * 256))
    return file
  },
  'noise put in': (file, random) => {
    const at = place(file, random)
    for (let n = at; n < Math.min(at + 64, file.length); n++) file[n] = Math.floor(random.next() * 256)
    return file
  },
}

const folder = newFolder(t)
const verdicts: Record<string, number> = {}
const findings: string[] = []
let longest = 0

/** Judges files until all are made: as the service does it, and then a decoder. */
async function judgeAll(name: string, random: Random) {
  const decoder = createDecoder('examine', { sandbox: detectSandbox(), memory: 2 ** 30 })
  const path = join(folder, name)
  for (let made = 0; made < count / DECODERS; made++) {
    const original = random.pick(files)
    let file = Buffer.from(original)
    const done = Array.from({ length: random.pick([1, 1, 1, 2, 3]) }, () => random.pick(Object.keys(ways)))
    for (const way of done) file = Buffer.from(ways[way]!(file, random))
    const start = performance.now()
    const verdict = await judge(file)
    const milliseconds = performance.now() - start
    longest = Math.max(longest, milliseconds)
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
    if (!/^(none|ready|corrupt|failed|rejected)$/.test(verdict) || milliseconds > MOST_MS) {
      const kept = join(folder, `finding-${findings.length}`)
      writeFileSync(kept, file)
      findings.push(`${verdict} in ${Math.round(milliseconds)} ms, ${done.join(', ')}: ${kept}`)
    }
  }
  rmSync(path, { force: true })
  await decoder.close()

  async function judge(file: Buffer) {
    const format = await sniff(file.subarray(0, HEAD_BYTES))
    if (!format) return 'none'
    return decoder.run(format, [file], { milliseconds: 60_000 }).then(
      ({ status }) => status,
      ({ message }: Error) => message,
    )
  }
}

t.test('every mutated file gets a verdict, and the decoder continues', async (t) => {
  await Promise.all(
    Array.from({ length: DECODERS }, (_, n) => judgeAll(`file-${n}`, seeded(seed * DECODERS + n))),
  )
  t.comment(`${JSON.stringify(verdicts)}, the longest took ${Math.round(longest)} ms`)
  t.strictSame(findings, [])
  const { none = 0, ready = 0, corrupt = 0 } = verdicts
  t.ok(
    none < count / 2 && ready > count / 20 && corrupt > count / 20,
    'the mutations damage the files, but not all of them completely',
  )
})
