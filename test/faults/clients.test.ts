import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { closed, openConnection } from '../helpers/connection.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage, makePadded } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { multipart } from '../helpers/multipart.ts'
import { listImages, post, startServer, until } from '../helpers/server.ts'
import { inTier, times } from '../helpers/tiers.ts'
import { type Answered, filesIn, hasNoOrphans, watch, wrongAmong } from './harness.ts'

const STEP = times(80, 10)
t.test(`a client that cuts the connection at every ${STEP}th byte leaves nothing`, async (t) => {
  const DATA_DIR = newFolder(t)
  const env = { DATA_DIR, WORKER_PROCESSES: '0' }
  const server = await startServer(t, env, { database: 'lent' })
  const { port } = new URL(server.url)
  const link = await server.makeLink()
  const body = await makePadded(1_000)
  const { payload, headers } = multipart([{ body }])
  const request = Buffer.concat([
    Buffer.from(
      `POST ${new URL(link).pathname} HTTP/1.1\r\nHost: hasty\r\nContent-Length: ${payload.length}\r\n` +
        `Content-Type: ${headers['content-type']}\r\n\r\n`,
    ),
    payload,
  ])
  await post(link, await makeImage())
  const isUnharmed = await watch(server)

  const cuts = Array.from({ length: Math.floor(request.length / STEP) }, (_, n) => n * STEP)
  t.ok(cuts.length > 1_000 / STEP, `${cuts.length} cuts`)
  for (const [n, at] of cuts.entries()) {
    const { socket, send } = await openConnection(Number(port))
    await send(request.subarray(0, at))
    // By a reset, by an end, or both at once.
    if (n % 2) socket.resetAndDestroy()
    else socket.end()
    socket.resume()
    await closed(socket)
  }
  // The last requests end after their connections. The image may be complete before the request is.
  const images = await until(async () => {
    const present = (await listImages(server.url)).filter(({ removedAt }) => !removedAt)
    return filesIn(join(DATA_DIR, 'objects')).length === present.length ? present : undefined
  })
  t.ok(images.length <= 2, 'nothing is left, before any sweep')
  const { id, hash } = await post(link, body)
  t.equal(hash, sha256(body))
  t.strictSame(await wrongAmong(server.url, new Map([[id, hash]])), [])
  await hasNoOrphans(t, server, env, join(DATA_DIR, 'objects'))
  await isUnharmed(t)
})

inTier.campaign('a process without free file descriptors works again when some are free', async (t) => {
  const DATA_DIR = newFolder(t)
  const env = { DATA_DIR, WORKER_PROCESSES: '0' }
  const server = await startServer(t, env, { descriptors: 300 })
  const { port } = new URL(server.url)
  const link = await server.makeLink()
  const answered: Answered = new Map()
  const upload = async () => {
    const body = await makePadded(10_000)
    const { id, hash } = await post(link, body)
    answered.set(id, hash)
  }
  await upload()
  const isUnharmed = await watch(server)
  const kept = await openConnection(Number(port))

  // More than it can have; each holds one.
  const sockets = Array.from({ length: 400 }, () => connect(Number(port), '127.0.0.1').on('error', () => {}))
  // Each timer of the process runs in this time.
  await sleep(2_500)
  for (const path of ['/livez', '/metrics']) {
    await kept.send(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`)
    const { statusCode } = await kept.answer()
    t.equal(statusCode, 200, `${path} on a connection that was open before`)
  }
  const signal = AbortSignal.timeout(5_000)
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, async () =>
      fetch(`${server.url}/images/${[...answered.keys()][0]}`, { signal }),
    ),
  )
  t.comment(results.map((result) => (result.status === 'fulfilled' ? result.value.status : 'none')).join(' '))
  await Promise.allSettled(Array.from({ length: 10 }, () => upload()))
  for (const socket of [...sockets, kept.socket]) socket.destroy()

  // It has to see first that they are gone. Until then it still closes connections that it had not accepted.
  await until(async () => {
    for (let n = 0; n < 6; n++) await upload()
    return true
  }, 60_000)
  t.ok(answered.size >= 7, 'six uploads in a row are accepted')
  t.strictSame(await wrongAmong(server.url, answered), [])
  await hasNoOrphans(t, server, env, join(DATA_DIR, 'objects'))
  await isUnharmed(t)
})
