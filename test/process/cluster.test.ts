import { once } from 'node:events'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { admin } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { freePort } from '../helpers/ports.ts'
import { type Server, startServer, until } from '../helpers/server.ts'
import { inTier, tier } from '../helpers/tiers.ts'

const PROCESSES = 2

const startCluster = (
  t: Test,
  env: { DATA_DIR: string; [name: string]: string },
  options: Parameters<typeof startServer>[2] = { database: 'lent' },
) =>
  startServer(
    t,
    {
      API_PROCESSES: String(PROCESSES),
      WORKER_PROCESSES: '0',
      ...env,
    },
    options,
  )

/** Sends a request on a new connection. Connections go to the processes in turn. */
async function ask(url: string, { method = 'GET', headers = {}, body = '' as string | Buffer } = {}) {
  const asking = request(url, { method, headers, agent: false }).end(body)
  const [answer] = await once(asking, 'response')
  return { status: answer.statusCode as number, body: await text(answer) }
}

const pidsOf = ({ lines }: Server, line: RegExp) => [
  ...new Set(lines.filter((each) => line.test(each)).map((each) => Number(/"pid":(\d+)/.exec(each)?.[1]))),
]
const apiPids = (server: Server) => pidsOf(server, /Server listening/)

const isGone = (pid: number) => {
  try {
    process.kill(pid, 0)
    return undefined
  } catch {
    return true
  }
}
const areGone = (pids: number[]) =>
  until(async () => (pids.every(isGone) ? true : undefined)).catch(() => false)

/** Sends requests until each process has served all images. */
async function checkServed(t: Test, url: string, ids: string[]) {
  for (let n = 0; n < PROCESSES; n++)
    for (const id of ids) t.equal((await ask(`${url}/images/${id}`)).status, 200)
}

/** Revokes a link, and sends uploads until each process has refused one. */
async function checkRevoked(link: string) {
  const url = link.replace('/uploads/', '/admin/ephemeral-links/')
  await ask(url, { method: 'DELETE', headers: admin })
  const { headers, payload } = multipart([{ body: await makeImage('png') }])
  const revokedAt = Date.now()
  for (let refused = 0; refused < PROCESSES; ) {
    const { status } = await ask(link, { method: 'POST', headers, body: payload })
    refused = status === 410 ? refused + 1 : 0
    if (Date.now() > revokedAt + 6_000) throw new Error('a process accepts images by a link revoked 6 s ago')
  }
}

async function testService(t: Test, env: Record<string, string>) {
  t.test('several API processes are one service', async (t) => {
    const server = await startCluster(t, { DATA_DIR: newFolder(t), ...env })
    const link = await server.makeLink()
    await until(async () => (apiPids(server).length === PROCESSES ? true : undefined))
    const uploads = 6
    const ids: string[] = []
    for (let n = 0; n < uploads; n++) {
      const { headers, payload } = multipart([{ body: await makeImage('png') }])
      const answer = await ask(link, { method: 'POST', headers, body: payload })
      t.equal(answer.status, 200)
      ids.push(JSON.parse(answer.body).processed[0].id)
    }
    t.equal(pidsOf(server, /"route":"\/uploads\/:id"/).length, PROCESSES, 'each process received uploads')

    await checkServed(t, server.url, ids)
    for (let n = 0; n < PROCESSES; n++) {
      const metrics = (await ask(`${server.url}/metrics`)).body
      t.match(
        metrics,
        new RegExp(`^hasty_uploads_total\\{method="multipart"\\} ${uploads}$`, 'm'),
        'each process reports the sum',
      )
      t.match(metrics, new RegExp(`^hasty_waiting_images ${uploads}$`, 'm'), 'a shared value is not added up')
    }

    await checkRevoked(link)
    const pids = apiPids(server)
    t.equal(await server.end('SIGTERM'), 0, server.lines.slice(-5).join('\n'))
    t.ok(await areGone(pids), 'no process is left')
  })
}
// `npm test` starts one cluster only, below.
if (tier !== 'default') eachDatabase(testService)

inTier.default(
  'several API processes are one service, which restarts a killed process, whose work the metrics keep, and each finishes its upload on SIGTERM',
  async (t) => {
    const [port] = [await freePort()]
    const server = await startCluster(t, {
      DATA_DIR: newFolder(t),
      WORKER_PROCESSES: '1',
      METRICS_PORT: String(port),
    })
    const link = await server.makeLink()
    const worker = await until(async () => pidsOf(server, /worker is ready/)[0])
    const first = await until(async () => {
      const found = apiPids(server)
      return found.length === PROCESSES ? found : undefined
    })
    const { headers, payload } = multipart([{ body: await makeImage('png') }])
    const metrics = async () => (await ask(`http://127.0.0.1:${port}/metrics`)).body
    const upload = async () => {
      const { status, body } = await ask(link, { method: 'POST', headers, body: payload })
      t.equal(status, 200)
      return JSON.parse(body).processed[0].id
    }
    const ids = [await upload(), await upload(), await upload(), await upload()]
    await until(
      async () => /^hasty_analysis_duration_seconds_count\{verdict="ready"\} 1$/m.exec(await metrics())?.[0],
    )
    t.match(await metrics(), /^hasty_uploads_total\{method="multipart"\} 4$/m)
    t.equal(pidsOf(server, /"route":"\/uploads\/:id"/).length, PROCESSES, 'each process received uploads')
    await checkServed(t, server.url, ids)
    process.kill(first[0]!, 'SIGKILL')
    await until(async () => isGone(first[0]!))
    for (let n = 0; n < 4; n++) await upload()
    await until(async () => (apiPids(server).length === PROCESSES + 1 ? true : undefined))
    t.match(server.lines.join('\n'), /"signal":"SIGKILL".*API process ended unexpectedly/)
    const text = await metrics()
    t.match(text, /^hasty_uploads_total\{method="multipart"\} 8$/m)
    t.match(
      text,
      /^http_request_duration_seconds_count\{method="POST",route="\/uploads\/:id",status_class="2xx"\} 8$/m,
    )
    t.match(text, /^process_resident_memory_bytes\{process="worker"\} \d+/m)
    for (const probe of ['livez', 'readyz', 'startupz'])
      t.equal((await ask(`http://127.0.0.1:${port}/${probe}`)).status, 200, probe)
    t.equal((await ask(`${server.url}/metrics`)).status, 404)

    await checkRevoked(await server.makeLink())

    const half = payload.length >> 1
    const uploads = Array.from({ length: PROCESSES }, () => {
      const upload = request(link, { method: 'POST', headers, agent: false })
      upload.write(payload.subarray(0, half))
      return { upload, answering: once(upload, 'response') }
    })
    await sleep(300)
    const pids = apiPids(server)
    const ended = server.end('SIGTERM', { group: true })
    await sleep(300)
    for (const { upload } of uploads) upload.end(payload.subarray(half))
    for (const { answering } of uploads) {
      const [answer] = await answering
      t.equal(answer.statusCode, 200)
      answer.resume()
    }
    t.equal(await ended, 0)
    t.ok(await areGone([...pids, worker]), 'no process is left')
  },
)

inTier.campaign('ends if the API processes cannot start, and all end with the primary process', async (t) => {
  const DATA_DIR = newFolder(t)
  const server = await startCluster(t, { DATA_DIR, WORKER_PROCESSES: '1' }, { database: 'own' })
  const worker = await until(async () => pidsOf(server, /worker is ready/)[0])
  const PORT = new URL(server.url).port
  await t.rejects(startCluster(t, { DATA_DIR: `${DATA_DIR}/other`, PORT }, { database: 'own' }), {
    message: /EADDRINUSE/,
  })
  await t.rejects(startCluster(t, { DATA_DIR }, { database: 'own' }), { message: /in use by another Hasty/ })

  const pids = apiPids(server)
  t.equal(pids.length, PROCESSES)
  await server.end('SIGKILL')
  t.ok(await areGone([...pids, worker]), 'no process is left')
})
