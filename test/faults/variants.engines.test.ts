import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { createDecoder } from '../../services/analysis/sandbox/decoder.ts'
import { detectSandbox } from '../../services/analysis/sandbox/levels.ts'
import { createRenderers } from '../../services/variants/renderers.ts'
import { type App, build, imageReader, makeLink } from '../helpers/app.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

// Real processes are killed, stopped and starved while they make a variant.

const MEMORY_BYTES = 2 ** 28
/** Instead of 30 s, so that the test does not wait that long for a process that hangs. */
const PATIENCE_MS = 2_000

const flat = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#48c' } })
const small = await flat(400, 300).jpeg().toBuffer()
/** Takes about half a second as AVIF. */
const slow = await flat(3_000, 2_000).png().toBuffer()
/** A progressive JPEG is decoded as a whole: 6 bytes for each pixel. */
const hungry = await flat(5_600, 5_600).jpeg({ progressive: true, chromaSubsampling: '4:4:4' }).toBuffer()

/**
 * The service with two processes that make variants, and the formats of their jobs.
 *
 * @param patience milliseconds for the first variants of PNGs
 */
async function start(t: Test, patience: number[] = []) {
  const jobs: string[] = []
  const renderers = createRenderers({
    concurrency: 2,
    memory: MEMORY_BYTES,
    longestWait: 30_000,
    create() {
      const decoder = createDecoder('render', { sandbox: detectSandbox(), memory: MEMORY_BYTES })
      return {
        ...decoder,
        render(format, content, { milliseconds: _, ...options }) {
          jobs.push(format.format)
          const milliseconds = (format.format === 'PNG' && patience.shift()) || 60_000
          return decoder.render(format, content, { ...options, milliseconds })
        },
      }
    },
  })
  t.teardown(() => renderers.close())
  return { app: await build(t, {}, { imageReader, renderers }), jobs }
}

async function upload(app: App, body: Buffer) {
  const answer = await app.inject({ method: 'POST', url: await makeLink(app), ...multipart([{ body }]) })
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return answer.json().processed[0].id as string
}

/** The processes that make variants: those with the decoder's program that have no child. */
function renderProcesses(pid = process.pid): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
  if (children.length > 0) return children.flatMap((child) => renderProcesses(Number(child)))
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('child.ts\0render') ? [pid] : []
}

const url = (id: string, query: string) => `/images/${id}?${query}`

for (const [signal, reason] of [
  ['SIGKILL', /ended \(SIGKILL\)/],
  ['SIGSTOP', /more than 2 s/],
] as const)
  t.test(
    `a process that gets ${signal} while it makes a variant fails only this variant, once`,
    async (t) => {
      const { app, jobs } = await start(t, signal === 'SIGSTOP' ? [PATIENCE_MS] : [])
      const [victim, other] = [await upload(app, slow), await upload(app, small)]
      // Starts the first process.
      t.equal((await app.inject(url(other, 'w=160&format=png'))).statusCode, 200)
      const [first] = renderProcesses()
      const making = app.inject(url(victim, 'w=1920&format=avif')).then((answer) => answer)
      while (!jobs.includes('PNG')) await sleep(5)
      await sleep(100)
      process.kill(first!, signal)
      t.equal((await app.inject(url(other, 'w=320&format=png'))).statusCode, 200, 'the others continue')
      const refused = await making
      isProblem(t, refused, 503, 'variant-failed', reason)
      t.ok(Number(refused.headers['retry-after']) > 0)
      t.equal(jobs.filter((format) => format === 'PNG').length, 1, 'nobody tried again')
      t.equal((await app.inject(url(victim, 'w=1280&format=webp'))).statusCode, 200)
      t.equal((await app.inject(url(victim, 'w=1920&format=avif'))).statusCode, 200, 'the next request does')
      t.equal(jobs.filter((format) => format === 'PNG').length, 3)
      t.notOk(renderProcesses().includes(first!), 'the process has ended')
    },
  )

t.test('a process that runs out of memory fails only its variant, and each request tries once', async (t) => {
  const { app, jobs } = await start(t)
  const [victim, other] = [
    await upload(app, hungry),
    await upload(app, await flat(400, 300).png().toBuffer()),
  ]
  for (const attempts of [1, 2]) {
    const [refused, made] = await Promise.all([
      app.inject(url(victim, 'w=2560&format=png')),
      app.inject(url(other, `w=${attempts * 160}&format=png`)),
    ])
    isProblem(t, refused, 503, 'variant-failed', /256 MiB|ended/)
    t.equal(made.statusCode, 200, 'the others continue')
    t.equal(jobs.filter((format) => format === 'JPEG').length, attempts)
  }
})
