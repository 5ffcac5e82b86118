import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { stopListening } from '../../process/stop-listening.ts'
import { times } from '../helpers/tiers.ts'

// Clients in another thread open one connection after the other and send a request on each. They stop at the first that
// is refused.
const clients = new Worker(
  `const { parentPort } = require('node:worker_threads')
   const { connect } = require('node:net')
   const PIPELINES = 4
   parentPort.on('message', ({ id, port }) => {
     const counts = {}
     let open = PIPELINES
     const next = () => {
       let received = ''
       const socket = connect(port, '127.0.0.1', () => {
         socket.write('POST / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nhi')
       })
       socket.on('data', (data) => (received += data))
       socket.on('error', (error) => (received = error.code))
       socket.on('close', () => {
         const result = received.startsWith('HTTP/1.1 200') ? 'ok' : received || 'no response'
         counts[result] = (counts[result] ?? 0) + 1
         if (result === 'ECONNREFUSED' || counts[result] > 1e5) open--
         else return setTimeout(next, 1)
         if (open === 0) parentPort.postMessage({ id, counts })
       })
     }
     for (let n = 0; n < PIPELINES; n++) next()
   })`,
  { eval: true },
)
t.teardown(() => clients.terminate())

const ROUNDS = times(5, 50)

t.test('no connection is reset when a server stops to listen: it is served or refused', async (t) => {
  const total: Record<string, number> = {}
  const results = Promise.withResolvers<void>()
  let left = ROUNDS
  clients.on('message', ({ counts }: { counts: Record<string, number> }) => {
    for (const [result, count] of Object.entries(counts)) total[result] = (total[result] ?? 0) + count
    if (--left === 0) results.resolve()
  })
  for (let round = 0; round < ROUNDS; round++) {
    const server = createServer((request, response) => request.resume().on('end', () => response.end()))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    clients.postMessage({ id: round, port: (server.address() as AddressInfo).port })
    await once(server, 'request')
    await sleep(20)
    await stopListening(server)
  }
  await results.promise
  t.comment(JSON.stringify(total))
  t.strictSame(Object.keys(total).sort(), ['ECONNREFUSED', 'ok'])
})

t.test('requests in progress are finished, and the server has stopped then', async (t) => {
  const server = createServer((_request, response) => setTimeout(() => response.end('done'), 200))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const response = fetch(`http://127.0.0.1:${port}/`).then((response) => response.text())
  await once(server, 'request')
  await stopListening(server)
  t.equal(server.listening, false)
  t.equal(await response, 'done')
})
