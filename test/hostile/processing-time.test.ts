import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { profileName } from '../../formats/headers/colour.ts'
import { readStart } from '../../formats/start.ts'
import { parseDigests } from '../../services/uploads/digests.ts'
import { everyFormat } from '../helpers/make.ts'
import { type Random, seeded } from '../helpers/random.ts'
import { seed, times } from '../helpers/tiers.ts'

// Searches for inputs that occupy the API process for long. Inputs are mutated, and those that take the most time are
// mutated again, so that the search climbs towards slow ones. The campaign takes 10 minutes, or as long as the variable
// below says: TIME_FUZZ_SECONDS=60 npm run test:campaign -- test/hostile/processing-time.test.ts

const BUDGET_MS = 5
const SECONDS = times(3, Number(process.env.TIME_FUZZ_SECONDS ?? 600))
/** The slowest inputs of a target, from which the next ones are made. */
const KEPT = 20

interface Target {
  seeds: Buffer[]
  run(input: Buffer): unknown
}

const formats = await everyFormat()
/** A profile whose tags all point to the same bytes. */
const profile = Buffer.alloc(4_000)
profile.write('acsp', 36)
profile.writeUInt32BE(300, 128)
for (let tag = 0; tag < 300; tag++) {
  profile.write('desc', 132 + 12 * tag)
  profile.writeUInt32BE(3_800, 136 + 12 * tag)
}

const targets: Record<string, Target> = {
  'the detection of the format': {
    seeds: Object.values(formats),
    run: (file) => sniff(file.subarray(0, HEAD_BYTES)),
  },
  'the start of a JPEG': {
    seeds: [formats.JPEG!],
    run: (file) => readStart(file, { format: 'JPEG', mediaType: 'image/jpeg' }),
  },
  'the name of a colour profile': { seeds: [profile], run: profileName },
  'a digest': {
    seeds: [Buffer.from('sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, sha=?1;a="b"')],
    run: (field) => parseDigests([field.toString('latin1')]),
  },
}

/** The shortest CPU time of several runs, in milliseconds: the first run may compile the code. */
async function measure({ run }: Target, input: Buffer) {
  let best = Number.POSITIVE_INFINITY
  for (let n = 0; n < 3 && best > 0.2; n++) {
    const before = process.threadCpuUsage()
    await run(input)
    const { user, system } = process.threadCpuUsage(before)
    best = Math.min(best, (user + system) / 1_000)
  }
  return best
}

const NUMBERS = [0, 1, 2, 8, 12, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x7fffffff, 0xffffffff]

function mutate(input: Buffer, random: Random): Buffer {
  const file = Buffer.from(input)
  const place = (length: number) => Math.floor(random.next() * Math.max(1, length))
  switch (random.pick(['byte', 'number', 'copy', 'repeat', 'cut'])) {
    case 'byte':
      if (file.length > 0) file[place(file.length)] = place(256)
      return file
    case 'number':
      if (file.length >= 4) file.writeUInt32BE(random.pick(NUMBERS), place(file.length - 3))
      return file
    case 'copy':
      file.copy(file, place(file.length), place(file.length), place(file.length) + 64)
      return file
    case 'repeat': {
      const at = place(file.length)
      const piece = file.subarray(at, at + 1 + place(64))
      const repeated = Array.from({ length: 1 + place(1_000) }, () => piece)
      return Buffer.concat([file.subarray(0, at), ...repeated, file.subarray(at)]).subarray(0, 65_536)
    }
    default:
      return file.subarray(0, place(file.length))
  }
}

for (const [name, target] of Object.entries(targets)) {
  t.test(`no generated file occupies ${name} for more than ${BUDGET_MS} ms`, async (t) => {
    const random = seeded(seed)
    for (let n = 0; n < 200; n++) for (const input of target.seeds) await measure(target, input)
    let slowest = target.seeds.map((input) => ({ input, milliseconds: 0 }))
    const end = performance.now() + (SECONDS * 1_000) / Object.keys(targets).length
    let tried = 0
    while (performance.now() < end) {
      let input = random.pick(slowest).input
      for (let n = random.pick([1, 1, 2, 4]); n > 0; n--) input = mutate(input, random)
      slowest.push({ input, milliseconds: await measure(target, input) })
      slowest = slowest.sort((a, b) => b.milliseconds - a.milliseconds).slice(0, KEPT + target.seeds.length)
      tried++
    }
    const [{ input, milliseconds } = slowest[0]!] = slowest
    t.comment(`${tried} inputs, the slowest took ${milliseconds.toFixed(2)} ms of CPU time`)
    const path = join(t.testdir(), 'slowest')
    if (milliseconds > BUDGET_MS) writeFileSync(path, input)
    t.ok(milliseconds <= BUDGET_MS, `${milliseconds.toFixed(1)} ms: ${path}`)
  })
}
