import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { fill } from '../fill.ts'
import type { Case, Scope } from '../harness.ts'
import { makeJpeg, photograph, type Size } from '../images.ts'
import { decodeInLoop, upload } from '../load/index.ts'
import { startHasty, startPostgres, startWorker, temporaryFolder } from '../servers.ts'

const MiB = 2 ** 20
const IMAGES = 160
const POLL_MS = 25

/** The cost of the analysis, in the worker and during the upload. */
export const analysis: Case[] = [
  analysisOf('analysis', '12 megapixel JPEGs', { width: 4096, height: 3072 }),
  analysisOf('analysis-small', '3 megapixel JPEGs', { width: 2048, height: 1536 }),
  {
    name: 'sniffing-1gb',
    title: 'one upload of 1 GiB, with and without the sniffer',
    unit: 'MB/s',
    ratio: { atLeast: 0.95 },
    async prepare(scope, effort) {
      const size = 1024 * MiB * effort.scale
      const file = await jpegFile(scope, MiB)
      const rate = (url: string) => async () => {
        const report = await upload({ url, file, size, clients: 1, multipart: true, distinct: true })
        return report.bytes / report.seconds / 1e6
      }
      return withAndWithoutSniffer(scope, rate)
    },
  },
  {
    name: 'sniffing-200kb',
    title: '200 KB JPEGs, 32 clients, with and without the sniffer',
    unit: 'uploads/s',
    ratio: { atLeast: 0.95 },
    async prepare(scope, { seconds }) {
      const file = await jpegFile(scope, 200_000)
      const rate = (url: string) => async () => {
        const load = { url, file, size: 200_000, clients: 32, multipart: true, distinct: true, seconds }
        const report = await upload(load)
        return report.uploads / report.seconds
      }
      return withAndWithoutSniffer(scope, rate)
    },
  },
]

/** The rate of a worker, compared with one plain loop for each of its decoders. */
function analysisOf(name: string, what: string, size: Size): Case {
  return {
    name,
    title: `analysis of ${what} in the worker`,
    unit: 'files/s',
    ratio: { atLeast: 0.9 },
    async prepare(scope, { seconds }) {
      const jpeg = await photograph(size)
      const { images, env, folder } = await fill(
        scope,
        Array.from({ length: IMAGES }, () => jpeg),
      )
      const list = join(temporaryFolder(scope), 'files')
      writeFileSync(list, images.map(({ path }) => join(folder, path)).join('\n'))
      startWorker(scope, env)
      return {
        // A worker has one decoder for each core.
        baseline: async () => {
          const loops = Array.from({ length: availableParallelism() }, () => decodeInLoop({ list, seconds }))
          return (await Promise.all(loops)).reduce((sum, each) => sum + each, 0)
        },
        hasty: () => analysisRate(env.DATABASE_URL),
      }
    },
  }
}

/** Hasty with `services/uploads/sniffer.ts`, and with a replacement that does nothing. */
async function withAndWithoutSniffer(scope: Scope, rate: (url: string) => () => Promise<number>) {
  const createDatabase = await startPostgres(scope)
  const preload = new URL('../baselines/without-sniffer.ts', import.meta.url).href
  const without = await startHasty(scope, {
    DATABASE_URL: await createDatabase(),
    NODE_OPTIONS: `--import ${preload}`,
  })
  const hasty = await startHasty(scope, { DATABASE_URL: await createDatabase() })
  return { baseline: rate(await without.makeLink()), hasty: rate(await hasty.makeLink()) }
}

/** Marks every image as waiting, and measures the rate from the first settled image to the last. */
async function analysisRate(databaseUrl: string) {
  const sql = postgres(databaseUrl, { max: 1 })
  const waiting = async () =>
    Number((await sql`select count(*) as n from images where due_at is not null`)[0]!.n)
  await sql`update images set status = 'pending', lease = null, attempts = 0, due_at = now()`
  let first: { at: number; left: number } | undefined
  for (;;) {
    const left = await waiting()
    if (left < IMAGES) first ??= { at: performance.now(), left }
    if (left === 0) break
    await sleep(POLL_MS)
  }
  const seconds = (performance.now() - first!.at) / 1000
  const [{ failed }] = (await sql`select count(*) as failed from images where status <> 'ready'`) as [
    { failed: string },
  ]
  await sql.end()
  if (Number(failed) > 0) throw new Error(`${failed} images are not ready`)
  return first!.left / seconds
}

async function jpegFile(scope: Scope, bytes: number) {
  const path = join(temporaryFolder(scope), 'image.jpg')
  writeFileSync(path, await makeJpeg(bytes))
  return path
}
