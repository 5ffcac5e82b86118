import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAdmission } from '../../services/uploads/admission.ts'
import { build, makeLink } from '../helpers/app.ts'
import { openConnection } from '../helpers/connection.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage, makePadded } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { send, startServer, until } from '../helpers/server.ts'
import { inTier } from '../helpers/tiers.ts'

/** Blocks the event loop for several samples of the plugin. */
async function block() {
  const end = performance.now() + 3_000
  while (performance.now() < end);
  await new Promise((resolve) => setTimeout(resolve, 1))
  await new Promise(setImmediate)
}

inTier.campaign(
  'while the event loop is overloaded, requests get 503 before their bodies are read, and probes are answered',
  async (t) => {
    const origin = 'https://app.example'
    const app = await build(t, { CORS_ORIGIN: origin })
    const url = await makeLink(app)
    const upload = multipart([{ body: await makeImage() }])
    const send = () => app.inject({ method: 'POST', url, ...upload, headers: { ...upload.headers, origin } })
    await block()
    t.equal((await send()).statusCode, 200, 'a single pause is no overload')
    let isRefused = false
    for (let tried = 0; tried < 20 && !isRefused; tried++) {
      await block()
      isRefused = (await app.inject('/images/none')).statusCode === 503
    }
    t.ok(isRefused)
    const [answer, live] = await Promise.all([send(), app.inject('/livez')])
    isProblem(t, answer, 503, 'busy')
    t.ok(Number(answer.headers['retry-after']) > 0)
    t.equal(answer.headers['access-control-allow-origin'], origin, 'a page of this origin can read it')
    t.match(answer.headers['access-control-expose-headers'], /Retry-After/)
    t.equal(live.statusCode, 200)
    t.equal(app.services.uploads.counts.multipart.received, 1)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    t.equal((await send()).statusCode, 200, 'it recovers at once')
  },
)

inTier.default('a process receives a limited number of uploads, of all links together', async (t) => {
  const limits = {
    uploads: 2,
    uploadsPerLink: 9,
    uploadsPerAddress: 9,
    stagedBytes: 9,
    stagedBytesPerLink: 9,
  }
  const admission = createAdmission(limits)
  const link = (id: string) => ({ id }) as Parameters<typeof admission.enter>[0]
  const first = admission.enter(link('a'), '192.0.2.1')
  admission.enter(link('b'), '192.0.2.2')
  t.throws(() => admission.enter(link('c'), '192.0.2.3'), { name: 'Busy' })
  first.leave()
  t.doesNotThrow(() => admission.enter(link('c'), '192.0.2.3'))
})

/** The CPU time of a process so far in seconds. Other work of the machine does not add to it. */
function cpuSeconds(pid: number) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100 // USER_HZ of every Linux system
}

inTier.campaign(
  'a refusal takes so little CPU time that 5 times the load leaves most of it to uploads, which are accepted again at once',
  { timeout: 60_000 },
  async (t) => {
    const server = await startServer(t, {
      DATA_DIR: newFolder(t),
      WORKER_PROCESSES: '0',
      UPLOADS_PER_LINK: '32',
    })
    const link = new URL(await server.makeLink())
    const { payload, headers } = multipart([{ body: await makePadded(20_000) }])
    const head = `POST ${link.pathname} HTTP/1.1\r\nHost: h\r\nContent-Type: ${headers['content-type']}\r\nContent-Length: ${payload.length}\r\n\r\n`
    const open = () => openConnection(Number(link.port))
    let count = 0

    /** Resolves with the CPU time of a request. */
    async function measure(requests: number, status: number) {
      const start = cpuSeconds(server.process.pid!)
      let left = requests
      const client = async () => {
        let connection = await open()
        while (left-- > 0) {
          const body = Buffer.from(payload)
          body.writeUInt32BE(count++, body.length - 1000)
          await connection.send(Buffer.concat([Buffer.from(head), body]))
          const answer = await connection.answer()
          if (answer.statusCode !== status) t.equal(answer.statusCode, status)
          if (answer.headers.connection === 'close') {
            connection.socket.destroy()
            connection = await open()
          }
        }
        connection.socket.destroy()
      }
      await Promise.all(Array.from({ length: 32 }, client))
      return (cpuSeconds(server.process.pid!) - start) / requests
    }

    await measure(600, 200)
    const accepted = Math.min(await measure(600, 200), await measure(600, 200))
    const held = await Promise.all(Array.from({ length: 32 }, open))
    for (const { send } of held) await send(head + payload.subarray(0, 500).toString('latin1'))
    await sleep(500)
    await measure(1500, 429)
    // Other work of the machine makes a request dearer, never cheaper.
    let refused = Number.POSITIVE_INFINITY
    let goodput = 0
    for (let attempt = 0; attempt < 24 && goodput < 0.8; attempt++) {
      refused = Math.min(refused, await measure(2000, 429))
      goodput = accepted / (accepted + 4 * refused)
    }
    t.comment(`CPU time: accepted ${accepted * 1e6} us, refused ${refused * 1e6} us; goodput ${goodput}`)
    t.ok(goodput >= 0.8, `${goodput} of the CPU time is left to uploads`)
    for (const { socket } of held) socket.destroy()
    const isAccepted = async () => (await send(link.href, await makePadded(20_000))).status === 200
    await until(async () => (await isAccepted()) || undefined)
    await measure(32, 200)
    await server.end('SIGTERM')
  },
)
