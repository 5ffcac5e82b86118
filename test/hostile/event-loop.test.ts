import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { compareLength } from '../../formats/declared-length.ts'
import { createImageReader } from '../../services/analysis/reader.ts'
import { createSniffer } from '../../services/uploads/sniffer.ts'
import { build, makeLink } from '../helpers/app.ts'
import { chunksOf } from '../helpers/chunks.ts'
import { isWithin } from '../helpers/cpu.ts'
import { noSamples, SAMPLES, sample } from '../helpers/images.ts'
import { everyFormat } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'

// No upload blocks the event loop of the API process, whatever is in it: the process reads only what it can read in a
// time that is bounded. The files of a few KB took seconds to minutes before.

const HOSTILE = new URL('../../../shared/cases/hostile/', import.meta.url)
/** The longest time for a part in the API process (docs/threat-model.md). */
const LONGEST_MS = 5
/** For a request with ten parts: several parts can have work in one turn. */
const LONGEST_OF_TEN_MS = 10
// A collection of garbage, or the compiler, can come in between: then the same is measured again.
const TRIES = 10

// Less time than in production, so that the test is short.
const imageReader = createImageReader({ log: { warn() {} }, milliseconds: 100 })
const app = await build(t, { INLINE_LIMIT: '1MiB', MAX_FILES: '20' }, { imageReader })
t.teardown(() => imageReader.close())

/**
 * Measures the longest time between two turns of the event loop, in milliseconds, while `work` runs: the time on the
 * clock, or the CPU time of this thread if that is shorter, because other programs of a busy machine delay a turn. Short
 * turns of the same millisecond count as one. The
 * kernel counts CPU time in steps of 4 ms, so on a busy machine a result can be 4 ms too short.
 */
async function longestTurn<T>(work: () => Promise<T>): Promise<{ result: T; milliseconds: number }> {
  const now = () => {
    const { user, system } = process.threadCpuUsage()
    return { clock: performance.now(), cpu: (user + system) / 1_000 }
  }
  let isDone = false
  let milliseconds = 0
  let before = now()
  const watch = () => {
    const { clock, cpu } = now()
    milliseconds = Math.max(milliseconds, Math.min(clock - before.clock, cpu - before.cpu))
    before = now()
    // Not in each turn: the loop would never wait, and use a whole processor while a decoder works.
    if (!isDone) setTimeout(watch, 1)
  }
  setImmediate(watch)
  const result = await work()
  isDone = true
  watch()
  return { result, milliseconds }
}

/** Uploads files in one request. */
async function upload(files: Buffer[]) {
  const url = await makeLink(app)
  const body = multipart(files.map((file) => ({ body: file })))
  const { result, milliseconds } = await longestTurn(async () => app.inject({ method: 'POST', url, ...body }))
  return { response: result, milliseconds }
}

/** The shortest of several measurements. */
async function measure(files: () => Buffer[], limit: number) {
  let best = await upload(files())
  for (let n = 1; n < TRIES && best.milliseconds > limit; n++) {
    const next = await upload(files())
    if (next.milliseconds < best.milliseconds) best = next
  }
  return best
}

let count = 0
/** The same file with other bytes behind it, so that it is no duplicate. */
const another = (file: Buffer) => Buffer.concat([file, Buffer.from(`${count++}`)])

function readHostile() {
  try {
    return Object.fromEntries(
      readdirSync(HOSTILE).map((name) => [name, readFileSync(new URL(name, HOSTILE))]),
    )
  } catch {
    return {}
  }
}
const hostile: Record<string, Buffer> = readHostile()
const skip = Object.keys(hostile).length === 0 && 'the hostile files are not here'

// Everything is loaded and compiled before it is measured.
for (const file of Object.values(await everyFormat())) await upload([file])

t.test('the measure finds a block, also if the thread has other turns', async (t) => {
  const { milliseconds } = await longestTurn(async () => {
    await new Promise(setImmediate)
    const start = process.threadCpuUsage()
    for (;;) {
      const { user, system } = process.threadCpuUsage(start)
      if (user + system >= 10_000) break
    }
  })
  t.ok(milliseconds > LONGEST_MS, `${milliseconds} ms`)
})

t.test(
  `a hostile file does not block the event loop for ${LONGEST_MS} ms, nor ten of them in one request for ${LONGEST_OF_TEN_MS} ms`,
  { skip },
  async (t) => {
    for (const [name, file] of Object.entries(hostile)) {
      for (const copies of [1, 10]) {
        const limit = copies === 1 ? LONGEST_MS : LONGEST_OF_TEN_MS
        const { response, milliseconds } = await measure(
          () => Array.from({ length: copies }, () => another(file)),
          limit,
        )
        t.ok(response.statusCode === 200 || response.statusCode === 415, `${name}: ${response.statusCode}`)
        t.ok(isWithin(milliseconds, limit), `${copies} x ${name}: ${milliseconds.toFixed(1)} ms`)
      }
    }
  },
)

t.test('no format blocks the event loop', async (t) => {
  for (const [name, file] of Object.entries(await everyFormat())) {
    const { milliseconds } = await measure(
      () => Array.from({ length: 3 }, () => another(file)),
      LONGEST_OF_TEN_MS,
    )
    t.ok(isWithin(milliseconds, LONGEST_OF_TEN_MS), `three of ${name}: ${milliseconds.toFixed(1)} ms`)
  }
})

t.test('the bytes of a usual part take 1 ms of the API process at most', async (t) => {
  // Stands for the sandboxed process, so that only the API process is measured.
  const reader = { read: async () => undefined }
  const read = async (file: Buffer) => {
    const sniffer = createSniffer(2 ** 20, reader)
    for (const chunk of chunksOf(file, 65_536)) await sniffer.take(chunk)
    const { metadata } = await sniffer.end()
    await compareLength([file], metadata)
  }
  const samples = noSamples
    ? []
    : readdirSync(SAMPLES).filter((name) => /\.(jpe?g|png|heic|webp)$/i.test(name))
  const usual = {
    ...(await everyFormat()),
    ...Object.fromEntries(samples.map((name) => [name, sample(name)])),
  }
  for (const [name, file] of Object.entries(usual)) {
    let shortest = Number.POSITIVE_INFINITY
    // The shortest of several, because other programs and the garbage collector delay some.
    for (let n = 0; n < 200 && (n < 5 || shortest > 1); n++) {
      const start = performance.now()
      await read(file).catch((error) => t.match(error, { reason: 'not_an_image' }))
      shortest = Math.min(shortest, performance.now() - start)
    }
    t.ok(isWithin(shortest, 1), `${name}: ${shortest.toFixed(2)} ms`)
  }
})
