import t, { type Test } from 'tap'
import { networksOf } from '../../services/access/address.ts'
import { parseDigests } from '../../services/uploads/digests.ts'
import { readDisposition } from '../../services/uploads/disposition.ts'
import { admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'

// The longest header field of a request has 16 KiB (Node), of a part 80 KiB (the parser).
const REQUEST = 15_000
const PART = 80_000

const numbered = (length: number, each: (n: number) => string) =>
  Array.from({ length: length / 10 }, (_, n) => each(n))
    .join('')
    .slice(0, length)

/** Texts that are known to make parsers slow, each of a length. */
const hostile = (length: number): Record<string, string> => ({
  blanks: ' '.repeat(length),
  'blanks around commas': ' ,'.repeat(length / 2),
  'blanks in the middle': `"a"${' '.repeat(length - 6)}"b"`,
  commas: ','.repeat(length),
  quotes: '"'.repeat(length),
  backslashes: '\\'.repeat(length),
  'percent signs': '%'.repeat(length),
  'escaped bytes': '%e2'.repeat(length / 3),
  digits: '9'.repeat(length),
  'open brackets': 'a=('.repeat(length / 3),
  parameters: numbered(length, (n) => `;k${n}=${n}`),
  members: numbered(length, (n) => `k${n}=${n},`),
  colons: ':'.repeat(length),
  apostrophes: "'".repeat(length),
  durations: `P${'1Y'.repeat(length / 2)}`,
  ranges: `bytes=${'0-0,'.repeat(length / 4 - 2)}`,
})

/** Milliseconds of CPU time. The least of three runs if the first is too slow, because other work of the process counts too. */
async function cpuOf(work: () => unknown, most: number) {
  let least = Number.POSITIVE_INFINITY
  for (let run = 0; run < 3 && least >= most; run++) {
    const start = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(start)
    least = Math.min(least, (user + system) / 1000)
  }
  return least
}

async function isQuick(t: Test, most: number, about: string, work: () => unknown) {
  const milliseconds = await cpuOf(work, most)
  t.ok(milliseconds < most, `${about}: ${milliseconds.toFixed(1)} ms of CPU`)
}

t.test('each parser of text from outside takes a few milliseconds at most', async (t) => {
  for (const [about, text] of Object.entries(hostile(PART))) {
    await isQuick(t, 5, `digest, ${about}`, () => parseDigests([text, `sha-256=${text}`]))
    await isQuick(t, 5, `name, ${about}`, () => {
      for (const field of [
        text,
        `form-data; name=${text}`,
        `form-data; name="${text}"`,
        `form-data; filename*=${text}`,
      ])
        readDisposition(field)
    })
    await isQuick(t, 5, `address, ${about}`, () => networksOf(text))
  }
})

t.test('each header field, query and body of a request takes a few milliseconds at most', async (t) => {
  const app = await build(t, { CORS_ORIGIN: 'https://app.example', TRUST_PROXY: 'true', GUESS_LIMIT: '0' })
  const link = await makeLink(app)
  const { processed } = (
    await app.inject({ method: 'POST', url: link, ...multipart([{ body: await makeImage() }]) })
  ).json()
  const image = `/images/${processed[0].id}`
  const fields = [
    'if-match',
    'if-none-match',
    'if-modified-since',
    'range',
    'if-range',
    'origin',
    'authorization',
    'x-access-token',
    'x-forwarded-for',
    'x-forwarded-host',
    'accept',
    'accept-encoding',
    'content-type',
    'content-encoding',
    'expect',
  ]
  for (const [about, text] of Object.entries(hostile(REQUEST))) {
    for (const field of fields) {
      await isQuick(t, 40, `${field}, ${about}`, () => app.inject({ url: image, headers: { [field]: text } }))
    }
    const query = encodeURIComponent(text).slice(0, REQUEST)
    for (const url of [`/admin/images?cursor=${query}`, `/admin/images?bbox=${query}`, `/images/${query}`]) {
      await isQuick(t, 40, `${url.slice(0, 20)}, ${about}`, () =>
        app.inject({ url: url.replace(/%\w?$/, ''), headers: admin }),
      )
    }
    await isQuick(t, 40, `body, ${about}`, () =>
      app.inject({
        method: 'POST',
        url: '/admin/ephemeral-links',
        headers: admin,
        body: { sinceNow: text, timeExact: text, label: text },
      }),
    )
  }
})
