import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import t, { type Test } from 'tap'
import { newId } from '../../../services/ids.ts'
import { openJetStreamQueue } from '../../../stores/queue/jetstream.ts'
import { CONSUMER, openNotifier, STREAM, SUBJECT } from '../../../stores/queue/notifier.ts'
import { newFolder } from '../../helpers/folder.ts'
import { createNats, type Nats, startNats, withoutNats } from '../../helpers/nats.ts'
import { pendingImages, ready, until } from '../../helpers/pending.ts'
import { freePort } from '../../helpers/ports.ts'

/** So long that what comes did not come by asking the database. */
const NEVER = 600_000

t.test('JetStream', { skip: withoutNats() }, async (t) => {
  const { data, upload, work, statusOf, clear } = await pendingImages(t)
  const { images, imageLeases } = data
  t.beforeEach(clear)

  async function open(t: Test, url: URL, times?: { leaseMs?: number; pollMs?: number }) {
    const queue = await openJetStreamQueue([url], data, times)
    t.teardown(() => queue.close())
    return queue
  }

  await t.test(
    'several processes that start at the same time make one stream and one consumer',
    async (t) => {
      const nats = await startNats(t)
      await Promise.all(Array.from({ length: 5 }, () => open(t, nats.url)))
      const manager = await observe(t, nats)
      const { config } = await manager.streams.info(STREAM)
      t.match(config, { retention: 'workqueue', storage: 'file', subjects: [SUBJECT] })
      const consumers = await manager.consumers.list(STREAM).next()
      t.equal(consumers.length, 1)
      t.match(consumers[0]?.config, {
        durable_name: CONSUMER,
        ack_policy: 'explicit',
        ack_wait: 60_000_000_000,
        max_deliver: 20,
        max_ack_pending: 1_000,
      })

      await manager.streams.update(STREAM, { max_msgs: 12_345 })
      await open(t, nats.url)
      t.equal((await manager.streams.info(STREAM)).config.max_msgs, 12_345, "an operator's change stays")
    },
  )

  await t.test(
    'there is one message for each image, which is deleted when the image is settled',
    async (t) => {
      const nats = await startNats(t)
      const queue = await open(t, nats.url, { pollMs: NEVER })
      const manager = await observe(t, nats)
      await queue.take(AbortSignal.timeout(100)) // asks the database, for the first and the last time
      const id = await upload()
      for (let i = 0; i < 5; i++) queue.announce(id)
      const lease = await queue.take(AbortSignal.timeout(5_000))
      t.equal(lease?.imageId, id)
      t.equal(await messages(manager), 1)
      await imageLeases.settle(lease!, ready)
      queue.done(lease!)
      await until(async () => (await messages(manager)) === 0)
      t.equal(await queue.take(AbortSignal.timeout(300)), undefined)
    },
  )

  await t.test('doubled, late, early and invalid messages do no harm', async (t) => {
    const nats = await startNats(t)
    const queue = await open(t, nats.url, { leaseMs: 1_500, pollMs: NEVER })
    const manager = await observe(t, nats)
    const send = await sender(t, nats)
    const [doubled, late] = [await upload(), await upload()]
    await images.remove(late)
    for (const body of [
      doubled,
      doubled,
      late,
      newId(),
      '',
      '\0',
      `${doubled}\0`,
      "' or 1=1",
      'ä'.repeat(5_000),
      doubled,
    ]) {
      await send(body)
    }
    const lease = await queue.take(AbortSignal.timeout(5_000))
    t.match(lease, { imageId: doubled, attempt: 1 })
    t.equal(await queue.take(AbortSignal.timeout(500)), undefined, 'the others bring nothing')
    t.equal(
      await messages(manager),
      3,
      'those of the leased image come again when its lease may have run out',
    )
    await imageLeases.settle(lease!, ready)
    queue.done(lease!)
    t.equal(await queue.take(AbortSignal.timeout(2_000)), undefined)
    t.equal(await messages(manager), 0)
  })

  await t.test('a message is delivered again if the database did not respond', async (t) => {
    const nats = await startNats(t)
    let failing = true
    const leaseOne: typeof imageLeases.leaseOne = (request) => {
      if (failing) throw new Error('the database is unavailable')
      return imageLeases.leaseOne(request)
    }
    const queue = await openJetStreamQueue(
      [nats.url],
      { imageLeases: { ...imageLeases, leaseOne } },
      { pollMs: NEVER },
    )
    t.teardown(() => queue.close())
    await queue.take(AbortSignal.timeout(100))
    const id = await upload()
    queue.announce(id)
    await t.rejects(queue.take(AbortSignal.timeout(5_000)), { message: 'the database is unavailable' })
    failing = false
    t.match(await queue.take(AbortSignal.timeout(5_000)), { imageId: id, attempt: 1 })
  })

  await t.test('an image whose message was lost is found in the database', async (t) => {
    const nats = await startNats(t)
    const queue = await open(t, nats.url, { pollMs: 500 })
    const manager = await observe(t, nats)
    await queue.take(AbortSignal.timeout(100))
    const lost = await Promise.all(Array.from({ length: 20 }, upload))
    for (const id of lost) queue.announce(id)
    await until(async () => (await messages(manager)) === lost.length)
    await manager.streams.purge(STREAM)

    const settled: string[] = []
    const end = new AbortController()
    const began = Date.now()
    const working = work(queue, end.signal, settled)
    await until(() => settled.length >= lost.length)
    t.ok(Date.now() - began < 3_000, 'without a pause before each')
    end.abort()
    await working
    t.strictSame(settled.sort(), lost.sort())
  })

  await t.test('busy workers also find images whose messages were lost', async (t) => {
    const nats = await startNats(t)
    const queue = await open(t, nats.url, { pollMs: 300 })
    await queue.take(AbortSignal.timeout(100))
    const lost = await upload()
    const settled: string[] = []
    const end = new AbortController()
    const working = work(queue, end.signal, settled, async () => {
      queue.announce(await upload()) // so that there is always a message
      await sleep(10)
    })
    queue.announce(await upload())
    await until(async () => (await statusOf(lost)) === 'ready', 5_000)
    end.abort()
    await working
  })

  await t.test('if several workers have an image at the same time, one settles it', async (t) => {
    const nats = await startNats(t)
    // Leases that are shorter than some of the analyses.
    const times = { leaseMs: 300, pollMs: 1_000 }
    const queues = [await open(t, nats.url, times), await open(t, nats.url, times)]
    const send = await sender(t, nats)
    const ids = await Promise.all(Array.from({ length: 120 }, upload))
    await Promise.all([...ids, ...ids].map(send))
    const settled: string[] = []
    let analyses = 0
    const end = new AbortController()
    const workers = [...queues, ...queues, ...queues].map((queue) =>
      work(queue, end.signal, settled, async ({ attempt }) => {
        if (++analyses % 10 === 0 && attempt < 3) await sleep(500)
      }),
    )
    await until(() => settled.length >= ids.length, 20_000)
    end.abort()
    await Promise.all(workers)
    t.ok(analyses > ids.length, 'some had it twice')
    t.strictSame(settled.sort(), ids.sort(), 'and each was settled once')
  })

  await t.test('the message of an image whose lease is extended is not delivered again', async (t) => {
    const nats = await startNats(t)
    const queue = await open(t, nats.url, { leaseMs: 1_000, pollMs: NEVER })
    const manager = await observe(t, nats)
    await queue.take(AbortSignal.timeout(100))
    queue.announce(await upload())
    const lease = await queue.take(AbortSignal.timeout(5_000))
    const taking = queue.take(AbortSignal.timeout(2_400))
    for (let i = 0; i < 5; i++) {
      await sleep(400)
      t.ok(await queue.extend(lease!))
    }
    await taking
    const { delivered } = await manager.consumers.info(STREAM, CONSUMER)
    t.equal(delivered.consumer_seq, 1)
  })

  await t.test('an image is analysed although its message is gone', async (t) => {
    const nats = await startNats(t)
    const queue = await open(t, nats.url, { pollMs: 2_000 })
    const manager = await observe(t, nats)
    await queue.take(AbortSignal.timeout(100))
    const id = await upload()
    queue.announce(id)
    for (let i = 0; i < 25; i++) {
      const lease = await queue.take(AbortSignal.timeout(5_000))
      t.match(lease, { imageId: id, attempt: 1 })
      await queue.release(lease!)
    }
    const { state } = await manager.streams.info(STREAM)
    t.ok(state.first_seq > 1, 'a message that may not be delivered any more is not kept')
  })

  await t.test('no image is lost if NATS is killed and restarted during uploads and analyses', async (t) => {
    const nats = await startNats(t)
    const api = await open(t, nats.url)
    const workers = [await open(t, nats.url), await open(t, nats.url)]
    const warnings = collectWarnings(t)
    const settled: string[] = []
    const end = new AbortController()
    const working = workers.flatMap((queue) => [
      work(queue, end.signal, settled, async () => sleep(5)),
      work(queue, end.signal, settled, async () => sleep(5)),
    ])
    const ids: string[] = []
    let slowest = 0
    const some = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const id = await upload()
        const began = performance.now()
        api.announce(id)
        slowest = Math.max(slowest, performance.now() - began)
        ids.push(id)
      }
    }
    await some(40)
    await nats.kill()
    await some(40)
    await until(() => settled.length === ids.length)
    await nats.start()
    await some(40)
    await until(() => settled.length === ids.length)
    t.strictSame(settled.toSorted(), ids.toSorted())
    t.ok(slowest < 50, 'no announcement waits')
    t.ok(warnings.length >= 1 && warnings.length <= 3, 'each process warns once')

    // Its messages are used again: what is announced now is taken sooner than the database is asked.
    const manager = await observe(t, nats)
    const delivered = async () => (await manager.consumers.info(STREAM, CONSUMER)).delivered.stream_seq
    const before = await delivered()
    await until(async () => {
      await some(1)
      return (await delivered()) > before
    })
    await until(() => settled.length === ids.length)
    end.abort()
    await Promise.all(working)
  })

  await t.test('a queue starts without NATS and uses it later', async (t) => {
    const nats = await createNats(t)
    const warnings = collectWarnings(t)
    const began = Date.now()
    const queue = await open(t, nats.url, { pollMs: NEVER })
    t.ok(Date.now() - began < 1_000)
    await until(() => warnings.length > 0)
    t.match(warnings[0], /^QUEUE_URL: no connection to 127.0.0.1:\d+ \(.*ECONNREFUSED.*\)/)

    const id = await upload()
    const announcing = performance.now()
    for (let i = 0; i < 100_000; i++) queue.announce(id)
    t.ok(performance.now() - announcing < 1_000, 'nothing waits')
    const lease = await queue.take(AbortSignal.timeout(5_000))
    t.equal(lease?.imageId, id)
    await imageLeases.settle(lease!, ready)
    queue.done(lease!)
    t.equal(await queue.take(AbortSignal.timeout(200)), undefined)

    await nats.start()
    const taking = queue.take(AbortSignal.timeout(20_000))
    const manager = await observe(t, nats)
    await until(async () => (await manager.streams.names().next()).includes(STREAM))
    await sleep(100)
    const next = await upload()
    queue.announce(next)
    t.equal((await taking)?.imageId, next)
    t.equal(warnings.length, 1)
  })

  await t.test('no call waits for a NATS server that stalls, and its memory is bounded', async (t) => {
    const nats = await startNats(t)
    const queue = await open(t, nats.url, { pollMs: 1_000 })
    await queue.take(AbortSignal.timeout(100))
    const manager = await observe(t, nats)

    nats.pause()
    const announcing = performance.now()
    for (let i = 0; i < 20_000; i++) queue.announce(newId())
    t.ok(performance.now() - announcing < 1_000)
    nats.resume()
    await until(async () => (await messages(manager)) === 1_000)
    await sleep(200)
    t.equal(await messages(manager), 1_000, 'the others were dropped')
    await manager.streams.purge(STREAM)

    nats.pause()
    const id = await upload()
    queue.announce(id)
    const lease = await queue.take(AbortSignal.timeout(8_000))
    t.equal(lease?.imageId, id)
    await imageLeases.settle(lease!, ready)
    queue.done(lease!)
    nats.resume()
  })

  await t.test('a deleted stream is made again', async (t) => {
    const nats = await startNats(t)
    const queue = await open(t, nats.url, { pollMs: NEVER })
    const manager = await observe(t, nats)
    await queue.take(AbortSignal.timeout(100))
    const end = new AbortController()
    const settled: string[] = []
    const working = work(queue, end.signal, settled)
    await sleep(100)
    await manager.streams.delete(STREAM)
    await until(async () => (await manager.streams.names().next()).includes(STREAM))
    await until(async () => {
      queue.announce(await upload())
      await sleep(50)
      return settled.length > 0
    })
    end.abort()
    await working
  })

  await t.test('the URL may have a user and password, or a token', async (t) => {
    const server = await startNats(t, ['--user', 'hasty', '--pass', 'p@ss/word'])
    const url = new URL(server.url)
    url.username = 'hasty'
    url.password = 'p@ss/word'
    t.ok(await carries(url))
    const warnings = collectWarnings(t)
    url.password = 'hunter2'
    t.notOk(await carries(url))
    t.match(warnings, [/^(?!.*hunter2).*Authorization Violation/])

    const other = await startNats(t, ['--auth', 's3cret'])
    const withToken = new URL(other.url)
    t.notOk(await carries(withToken))
    withToken.username = 's3cret'
    t.ok(await carries(withToken))
  })

  await t.test('of several servers one that responds is used, by IPv6 too', async (t) => {
    const server = await startNats(t)
    const closed = new URL(`nats://127.0.0.1:${await freePort()}`)
    const byIpv6 = createServer((socket) =>
      pipeline(socket, createConnection(Number(server.url.port), '127.0.0.1'), socket, () => {}),
    )
    byIpv6.listen(0, '::1')
    await once(byIpv6, 'listening')
    t.teardown(() => byIpv6.close())
    const ipv6 = new URL(`nats://[::1]:${(byIpv6.address() as AddressInfo).port}`)
    t.ok(await carries(ipv6))
    for (let n = 0; n < 5; n++) t.ok(await carries(closed, server.url, closed))
    t.notOk(await carries(closed, closed))
  })

  await t.test('tls: requires a server with a trusted certificate', async (t) => {
    const folder = newFolder(t)
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ].concat([
        '-keyout',
        key,
        '-out',
        cert,
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
      ]),
      { stdio: 'ignore' },
    )
    const server = await startNats(t, ['--tls', '--tlscert', cert, '--tlskey', key])
    const url = new URL(`tls://localhost:${server.url.port}`)
    const warnings = collectWarnings(t)
    t.notOk(await carries(url))
    t.match(warnings, [/self-signed certificate/])

    const trusted = tls.getCACertificates('default')
    t.teardown(() => tls.setDefaultCACertificates(trusted))
    tls.setDefaultCACertificates([...trusted, readFileSync(cert, 'utf8')])
    t.ok(await carries(url))

    const plain = await startNats(t)
    t.notOk(await carries(new URL(`tls://${plain.url.host}`)), 'a server without TLS is not used')
  })

  await t.test('a server that is not NATS is refused, and no socket stays open', async (t) => {
    for (const answer of ['', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'INFO {nonsense\r\n', '\0\0\0']) {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => sockets.delete(socket))
        socket.end(answer)
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const queue = await openJetStreamQueue([new URL(`nats://127.0.0.1:${port}`)], data)
      const id = await upload()
      queue.announce(id)
      const lease = await queue.take(AbortSignal.timeout(5_000))
      t.equal(lease?.imageId, id)
      await imageLeases.settle(lease!, ready)
      await queue.close()
      server.close()
      await until(() => sockets.size === 0, 2_000)
    }
  })
})

/** Whether a message goes by way of `url`. */
async function carries(...servers: URL[]) {
  const notifier = await openNotifier(servers, { ackWait: 60_000 })
  try {
    const id = newId()
    notifier.notify(id, id)
    const message = await notifier.next(AbortSignal.timeout(5_000), 1_000)
    message?.ack()
    return message?.string() === id
  } finally {
    await notifier.close()
  }
}

/** A second connection, to look at what the server has. */
async function observe(t: Test, nats: Nats): Promise<JetStreamManager> {
  const connection = await connect({ servers: nats.url.host, reconnect: false })
  t.teardown(() => connection.close())
  return jetstreamManager(connection)
}

const messages = async (manager: JetStreamManager) => (await manager.streams.info(STREAM)).state.messages

/** Sends messages that the stream does not compare with what it has. */
async function sender(t: Test, nats: Nats) {
  const connection = await connect({ servers: nats.url.host, reconnect: false })
  t.teardown(() => connection.close())
  return (body: string) => jetstream(connection).publish(SUBJECT, body)
}

function collectWarnings(t: Test) {
  const warnings: string[] = []
  const add = ({ message }: Error) => message.startsWith('QUEUE_URL') && warnings.push(message)
  process.on('warning', add)
  t.teardown(() => process.off('warning', add))
  return warnings
}
