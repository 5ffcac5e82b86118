import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { build, makeLink, objectsOf } from '../helpers/app.ts'
import { closed, openConnection } from '../helpers/connection.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { post, until } from '../helpers/server.ts'

const TIMEOUT_MS = 1000
// The service checks six times per timeout. The rest is for a busy machine.
const PATIENCE_MS = 10_000

const app = await build(t, { CLIENT_TIMEOUT: `PT${TIMEOUT_MS / 1000}S` })
await app.listen({ port: 0 })
const { port } = app.server.address() as AddressInfo
const link = await makeLink(app)
const { headers, payload } = multipart([{ body: await makeImage('png', { width: 60, height: 50 }) }])
const head = (length: number | string) =>
  `POST ${link} HTTP/1.1\r\nHost: h\r\nContent-Type: ${headers['content-type']}\r\nContent-Length: ${length}\r\n\r\n`

/** Sends one byte at a time until the server closes the connection. */
async function drip(socket: Socket, bytes: Uint8Array, pause: number) {
  const ended = closed(socket).then(() => true)
  for (let at = 0; at < bytes.length && !socket.destroyed; at++) {
    socket.write(bytes.subarray(at, at + 1))
    if (await Promise.race([ended, sleep(pause)])) return
  }
}

/** Waits until the connection is closed. Resolves with the duration in milliseconds. */
async function ended(t: Test, socket: Socket, about: string) {
  const start = performance.now()
  await Promise.race([closed(socket), sleep(PATIENCE_MS, undefined, { ref: false })])
  t.ok(socket.destroyed, `${about}: the connection is closed`)
  return performance.now() - start
}

const incoming = async () =>
  (await Array.fromAsync(objectsOf(app).list())).filter(({ key }) => key.startsWith('incoming/')).length

t.test('a client that sends single bytes is disconnected, and no other client', async (t) => {
  const slow = await Promise.all(Array.from({ length: 20 }, () => openConnection(port)))
  const answers = slow.map((connection, n) => {
    const [whole, sent] = n % 2 ? [head(payload.length), payload] : ['', Buffer.from(head(payload.length))]
    connection.socket.write(whole)
    drip(connection.socket, sent, 50)
    return connection.answer()
  })
  const others = Array.from({ length: 20 }, async (_, n) => {
    await sleep(n * 100)
    return post(`http://127.0.0.1:${port}${link}`, await makeImage())
  })
  for (const [n, answer] of (await Promise.all(answers)).entries())
    isProblem(t, answer, 408, 'request-timeout', /./, n % 2 ? 'a slow body' : 'a slow header')
  for (const { socket } of slow) await ended(t, socket, 'slow')
  t.equal((await Promise.all(others)).length, 20, 'the others were served meanwhile')
  await until(async () => ((await incoming()) === 0 ? true : undefined))
})

t.test('a client that stops in the middle of a request is disconnected', async (t) => {
  const stopped = Object.entries({
    'no byte': '',
    'half a header': head(10).slice(0, 30),
    'a header without its body': head(payload.length),
    'half a body': Buffer.concat([Buffer.from(head(payload.length)), payload.subarray(0, 5000)]),
    'a request that was answered, with a body that never ends': head(1e9).replace(link, '/uploads/unknown'),
  }).map(async ([about, sent]) => {
    const connection = await openConnection(port)
    connection.socket.on('error', () => {})
    if (sent.length > 0) await connection.send(sent)
    const milliseconds = await ended(t, connection.socket, about)
    t.ok(milliseconds > TIMEOUT_MS / 2, `${about}: not before its time (${Math.round(milliseconds)} ms)`)
  })
  await Promise.all(stopped)
  await until(async () => ((await incoming()) === 0 ? true : undefined))
})

t.test('a client above the minimum speed is not disconnected', async (t) => {
  const connection = await openConnection(port)
  await connection.send(head(payload.length))
  // 4 KB/s
  for (let at = 0; at < payload.length; at += 400) {
    await connection.send(payload.subarray(at, at + 400))
    await sleep(100)
  }
  const { statusCode } = await connection.answer()
  t.equal(statusCode, 200)
  connection.socket.destroy()
})

t.test('no client is disconnected because the service is slow', async (t) => {
  const objects = objectsOf(app)
  const { stage } = objects
  objects.stage = async (...parameters) => {
    await sleep(TIMEOUT_MS * 2)
    return stage(...parameters)
  }
  t.teardown(() => Object.assign(objects, { stage }))
  for (const size of [100, 3000]) {
    const image = await makeImage('png', { width: 100, height: size })
    t.match(await post(`http://127.0.0.1:${port}${link}`, image), { id: /./ }, `${image.length} bytes`)
  }
})

t.test('a client that never reads the response is disconnected', async (t) => {
  // More than the buffers between client and service can hold.
  const image = Buffer.concat([await makeImage(), Buffer.alloc(20_000_000)])
  const { id } = await post(`http://127.0.0.1:${port}${link}`, image)
  const accepted = once(app.server, 'connection')
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.pause()
  socket.write(`GET /images/${id} HTTP/1.1\r\nHost: h\r\n\r\n`)
  const [server] = (await accepted) as [Socket]
  await ended(t, server, 'unread')
  socket.destroy()
})
