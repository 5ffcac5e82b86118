import t from 'tap'
import { strippable } from '../../../formats/strip/index.ts'
import { cpuMilliseconds } from '../../helpers/cpu.ts'
import { times } from '../../helpers/tiers.ts'
import { addMetadata, makePictures, SECRET, seeded, strip } from './pictures.ts'

const CUTS = times(15, 100)
const FLIPS = times(40, 300)
/** Of the bits before the metadata, every eighth is changed in `npm test`, and each in the campaign. */
const STEP = times(8, 1)

const pictures = await makePictures()
const laden = Object.entries(pictures).map(
  ([name, picture]) => [name, { ...picture, bytes: addMetadata(picture) }] as const,
)
// One of each way to code.
const one = ['baseline JPEG', 'APNG', 'lossy WebP', 'animated WebP']

for (const [name, original] of laden) {
  t.test(`${name} cut off or damaged is refused, or loses its metadata`, async (t) => {
    const random = seeded(2)
    const outcome = { stripped: 0, refused: 0 }
    const tryOut = async (bytes: Buffer, what: string) => {
      const begun = cpuMilliseconds()
      try {
        if ((await strip({ ...original, bytes })).includes(SECRET)) t.fail(`${what} lets metadata through`)
        outcome.stripped++
      } catch (error) {
        if ((error as Error).name !== 'CannotStrip') throw error
        outcome.refused++
      }
      if (cpuMilliseconds() - begun > 5000) t.fail(`${what} takes too long`)
    }
    for (let n = 0; n < CUTS; n++) {
      const length = random(original.bytes.length)
      await tryOut(original.bytes.subarray(0, length), `cut off at ${length}`)
    }
    for (let n = 0; n < FLIPS; n++) {
      const bit = random(original.bytes.length * 8)
      const bytes = Buffer.from(original.bytes)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      await tryOut(bytes, `bit ${bit}`)
    }
    t.equal(outcome.stripped + outcome.refused, CUTS + FLIPS)
    t.ok(outcome.stripped > 0 && outcome.refused > 0, JSON.stringify(outcome))
  })
}

for (const [name, original] of laden.filter(([name]) => one.includes(name))) {
  t.test(`${name} with any bit changed before its metadata is refused, or loses its metadata`, async (t) => {
    const places = new Set<number>()
    for (let at = original.bytes.indexOf(SECRET); at !== -1; at = nextRun(original.bytes, at)) {
      for (let n = at - 24; n < at; n++) places.add(n)
    }
    t.ok(places.size > 50)
    for (const at of places) {
      for (let bit = 0; bit < 8; bit += STEP) {
        const bytes = Buffer.from(original.bytes)
        bytes[at]! ^= 1 << bit
        try {
          if ((await strip({ ...original, bytes })).includes(SECRET)) t.fail(`bit ${bit} of byte ${at}`)
        } catch (error) {
          if ((error as Error).name !== 'CannotStrip') throw error
        }
      }
    }
  })
}

t.test('refuses a file of another format', async (t) => {
  for (const mediaType of strippable) {
    for (const bytes of [
      Buffer.of(1),
      Buffer.from('GIF89a'),
      Buffer.alloc(100_000),
      Buffer.alloc(100_000, 255),
    ])
      await t.rejects(strip({ mediaType, bytes }), { name: 'CannotStrip' }, mediaType)
  }
})

/** Where the next run of secrets begins, after the one that `at` is in. */
function nextRun(bytes: Buffer, at: number) {
  let end = at
  while (bytes.toString('latin1', end, end + SECRET.length) === SECRET) end += SECRET.length
  return bytes.indexOf(SECRET, end)
}
