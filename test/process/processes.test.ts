import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { admin, TOKEN } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage, makePadded } from '../helpers/images.ts'
import { memoryDuring, uploadZeros } from '../helpers/large-upload.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { everyFormat } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'
import { listImages, post, type Server, send, startServer, until } from '../helpers/server.ts'
import { inTier, tier, times } from '../helpers/tiers.ts'

const HOSTILE = new URL('../../../shared/cases/hostile/', import.meta.url)
const noHostile = existsSync(HOSTILE) ? false : 'the hostile files are not here'

const readImage = async ({ url }: Server, id: string) => {
  const answer = await fetch(`${url}/admin/images/${id}`, { headers: admin })
  return (await answer.json()) as { status: string }
}

/** The process id of the worker that was started last. */
const workerPid = ({ lines }: Server) =>
  until(async () => {
    const pid = lines.map((line) => /"pid":(\d+).*worker is ready/.exec(line)?.[1]).findLast(Boolean)
    return pid === undefined ? undefined : Number(pid)
  })

const ROUNDS = 3
const CLIENTS = 20
inTier.campaign(
  'every acknowledged image is served after SIGKILL of the process group during uploads',
  async (t) => {
    const DATA_DIR = newFolder(t)
    const answered = new Map<string, Buffer>()
    for (let round = 0; round < ROUNDS; round++) {
      const server = await startServer(t, { DATA_DIR })
      const link = await server.makeLink()
      const clients = Array.from({ length: CLIENTS }, async () => {
        for (;;) {
          const body = await makePadded(200_000)
          const { id } = await post(link, body)
          answered.set(id, body)
        }
      })
      const uploading = Promise.allSettled(clients)
      // Enough uploads, also on a slow machine. Then kill at a random moment.
      await until(async () => answered.size >= (round + 1) * 10 || undefined, 60_000)
      await sleep(randomInt(200))
      await server.end('SIGKILL', { group: true })
      await uploading
    }
    t.ok(answered.size >= 10 * ROUNDS, `${answered.size} images were acknowledged`)

    const server = await startServer(t, { DATA_DIR, WORKER_PROCESSES: '0' })
    let wrong = 0
    for (const [id, body] of answered) {
      const answer = await fetch(`${server.url}/images/${id}`)
      if (answer.status !== 200 || !body.equals(Buffer.from(await answer.arrayBuffer()))) wrong++
    }
    t.equal(wrong, 0, 'each has its bytes')

    // An upload without a response may be recorded too, but never in part.
    const images = await listImages(server.url)
    t.ok(images.length >= answered.size, `${images.length} images are recorded`)
    let half = 0
    for (const { id, hash } of images) {
      const answer = await fetch(`${server.url}/images/${id}`)
      if (sha256(await answer.bytes()) !== hash) half++
    }
    t.equal(half, 0, 'no image is incomplete')
    t.equal(await server.end('SIGTERM'), 0)
  },
)

inTier.default(
  'restarts a killed worker, and finishes a current upload on SIGTERM, also if the signal arrives twice',
  async (t) => {
    const server = await startServer(t, { DATA_DIR: newFolder(t), INLINE_LIMIT: '0' }, { database: 'lent' })
    const link = await server.makeLink()
    await t.test('the new worker analyses the waiting images', async (t) => {
      const first = await workerPid(server)
      const { id, status } = await post(link, await makeImage('png'))
      t.equal(status, 'pending')
      await until(async () => (await readImage(server, id)).status === 'ready' || undefined)

      process.kill(first, 'SIGKILL')
      const { id: second } = await post(link, await makeImage('png'))
      await until(async () => (await readImage(server, second)).status === 'ready' || undefined)
      t.not(await workerPid(server), first)
    })

    await t.test('the worker has no access token in its environment', async (t) => {
      const environment = readFileSync(`/proc/${await workerPid(server)}/environ`, 'utf8')
      t.match(environment, /DATA_DIR=/)
      t.notMatch(environment, /ACCESS_TOKEN/)
      t.notMatch(environment, TOKEN)
    })

    const image = await makeImage('png')
    const upload = request(link, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    })
    const answering = once(upload, 'response')
    upload.write('--b\r\nContent-Disposition: form-data; name="i"; filename="i.png"\r\n\r\n')
    upload.write(image.subarray(0, 50))
    await sleep(200)
    const ended = server.end('SIGTERM', { group: true })
    await sleep(200)
    process.kill(server.process.pid!, 'SIGTERM')
    upload.write(image.subarray(50))
    upload.end('\r\n--b--\r\n')
    const [answer] = await answering
    t.equal(answer.statusCode, 200)
    answer.resume()
    t.equal(await ended, 0)
  },
)

inTier.campaign('a worker ends with its server', async (t) => {
  const server = await startServer(t, { DATA_DIR: newFolder(t) }, { database: 'lent' })
  const worker = await workerPid(server)
  await server.end('SIGKILL')
  await until(async () => {
    try {
      process.kill(worker, 0)
    } catch {
      return true
    }
    return undefined
  })
  t.pass('the worker ends with its server')
})

inTier.campaign(
  'ends on SIGTERM within its time while it receives and decodes hostile pictures',
  { skip: noHostile },
  async (t) => {
    const server = await startServer(t, { DATA_DIR: newFolder(t) })
    const link = await server.makeLink()
    const uploads = readdirSync(HOSTILE).map((name) => post(link, readFileSync(new URL(name, HOSTILE))))
    const answers = Promise.allSettled(uploads)
    await sleep(100)
    const start = performance.now()
    t.equal(await server.end('SIGTERM'), 0)
    const seconds = (performance.now() - start) / 1000
    t.ok(seconds < 15, `it ended after ${seconds.toFixed(1)} s`)
    await answers
  },
)

inTier.campaign(
  'a server starts without a cache for compiled code, and a failed start gives the reason',
  async (t) => {
    const folder = t.testdir({ file: '' })
    const DATA_DIR = join(folder, 'data')
    const NODE_COMPILE_CACHE = join(folder, 'file', 'cache')
    const server = await startServer(t, { DATA_DIR, NODE_COMPILE_CACHE, WORKER_PROCESSES: '0' })
    t.equal((await fetch(`${server.url}/readyz`)).status, 200)
    await t.rejects(startServer(t, { DATA_DIR }), {
      message: new RegExp(
        `DATA_DIR ${DATA_DIR} is in use by another Hasty \\(process ${server.process.pid}\\)`,
      ),
    })
    await t.rejects(startServer(t, { DATA_DIR: `${DATA_DIR}/other`, PORT: new URL(server.url).port }), {
      message: /EADDRINUSE/,
    })
    await t.rejects(startServer(t, { DATA_DIR, PORT: 'three' }), {
      message: /^server.ts ended with 1: \{"level":60.*PORT is .*three.*, but must be/,
    })
  },
)

const LARGE_MIB = times(128, 1024)
const MANY = 1500
t.test('uploads need little memory and few libraries', async (t) => {
  const server = await startServer(
    t,
    { DATA_DIR: newFolder(t), MAX_FILE_SIZE: '2GiB', WORKER_PROCESSES: '0' },
    { database: tier === 'default' ? 'lent' : 'own' },
  )
  const link = await server.makeLink()

  await t.test(`one of ${LARGE_MIB} MiB keeps the process within 100 MiB of its idle memory`, async (t) => {
    // The first large upload fills the pools of buffers.
    await uploadZeros(link, 64)
    const { idle, peak } = await memoryDuring(server.process.pid!, async () => {
      t.equal((await uploadZeros(link, LARGE_MIB)).status, 200)
    })
    t.comment(`idle ${idle.toFixed(0)} MiB, peak ${peak.toFixed(0)} MiB`)
    t.ok(peak - idle < 100, `${(peak - idle).toFixed(0)} MiB more than idle`)
  })

  await t.test(
    'no upload of any format loads libvips, libheif or a parser into the API process',
    async (t) => {
      for (const [name, file] of Object.entries(await everyFormat()))
        t.equal((await send(link, file)).status, 200, name)
      const maps = readFileSync(`/proc/${server.process.pid}/maps`, 'utf8')
      t.notMatch(maps, /libvips|sharp|heif/)
      t.match(maps, /node/, 'the process is the one that was asked')
    },
  )

  if (tier === 'default') return
  await t.test('their memory is released at their end, and not when the connection ends', async (t) => {
    const image = await makePadded(200_000)
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    t.teardown(() => agent.destroy())
    const upload = async () => {
      const { headers, payload } = multipart([{ body: Buffer.concat([image, randomBytes(16)]) }])
      const [answer] = await once(request(link, { method: 'POST', agent, headers }).end(payload), 'response')
      await answer.toArray()
      return answer.statusCode
    }
    const uploadMany = async (uploads: number) => {
      const statuses = await Promise.all(Array.from({ length: uploads }, upload))
      t.ok(statuses.every((status) => status === 200))
    }
    await uploadMany(100)
    const { idle, peak } = await memoryDuring(server.process.pid!, () => uploadMany(MANY))
    t.comment(`${idle.toFixed(0)} MiB after 100 uploads, ${peak.toFixed(0)} MiB at most`)
    t.ok(peak - idle < 150, `${MANY} uploads of 200 KB, and ${(peak - idle).toFixed(0)} MiB more`)
  })
})
