// Uploads per second with 1, 2 and 3 API processes on PostgreSQL, S3 and JetStream, for docs/scaling.md. Everything runs on
// the cores of this machine, so the result shows the cost of the parts, and not how far they scale.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNats } from '../test/helpers/nats.ts'
import { startS3 } from '../test/helpers/s3.ts'
import { createScope } from './harness.ts'
import { makeJpeg } from './images.ts'
import { upload } from './load/index.ts'
import { startHasty, startPostgres, temporaryFolder } from './servers.ts'

const BYTES = 200_000
const SECONDS = 5
const ROUNDS = 3
const TICK_MS = 10

const { scope, end } = createScope()
try {
  const [createDatabase, s3, nats] = await Promise.all([
    startPostgres(scope),
    startS3(scope),
    startNats(scope),
  ])
  const file = join(temporaryFolder(scope), 'image.jpg')
  writeFileSync(file, await makeJpeg(BYTES))
  const { AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '' } = process.env

  async function start(processes: number) {
    const bucket = await s3.createBucket(`uploads-${processes}`)
    const hasty = await startHasty(scope, {
      AWS_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY,
      DATABASE_URL: await createDatabase(),
      OBJECT_STORE_URL: s3.url(bucket).href,
      QUEUE_URL: nats.url.href,
      API_PROCESSES: String(processes),
    })
    return hasty.makeLink()
  }
  const links = [await start(1), await start(2), await start(3)]

  console.log(
    '| API processes | uploads/s | milliseconds of CPU per upload, by program |\n| --- | --- | --- |',
  )
  for (let round = 0; round < ROUNDS; round++) {
    for (const [n, url] of links.entries()) {
      const before = cpuByProgram()
      const load = { url, file, size: BYTES, clients: 32, multipart: true, distinct: true, seconds: SECONDS }
      const { uploads, seconds } = await upload(load)
      const spent = [...cpuByProgram()]
        .map(([program, ms]) => ({ program, ms: (ms - (before.get(program) ?? 0)) / uploads }))
        .filter(({ ms }) => ms >= 0.05)
        .sort((a, b) => b.ms - a.ms)
        .map(({ program, ms }) => `${program} ${ms.toFixed(2)}`)
      console.log(`| ${n + 1} | ${(uploads / seconds).toFixed(0)} | ${spent.join(', ')} |`)
    }
  }
} finally {
  await end()
}

/** Milliseconds of processor time of each program so far. */
function cpuByProgram() {
  const spent = new Map<string, number>()
  for (const pid of execFileSync('ps', ['-e', '-o', 'pid='], { encoding: 'utf8' }).trim().split(/\s+/)) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const program = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      const ms = (Number(fields[11]) + Number(fields[12])) * TICK_MS
      spent.set(program, (spent.get(program) ?? 0) + ms)
    } catch {
      // The process has ended.
    }
  }
  return spent
}
