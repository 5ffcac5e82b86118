import t from 'tap'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { startNats, withoutNats } from '../helpers/nats.ts'
import { startOtlpReceiver } from '../helpers/otlp.ts'
import { startServer, until } from '../helpers/server.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const base64 = (hex: string) => Buffer.from(hex, 'hex').toString('base64')

for (const queue of ['the database', 'JetStream'])
  t.test(
    `the trace of an upload continues in a worker process that is notified by ${queue}`,
    { skip: queue === 'JetStream' && withoutNats() },
    async (t) => {
      const receiver = await startOtlpReceiver(t)
      const server = await startServer(t, {
        DATA_DIR: newFolder(t),
        WORKER_PROCESSES: '1',
        INLINE_LIMIT: '1KiB',
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_BSP_SCHEDULE_DELAY: '200',
        ...(queue === 'JetStream' && { QUEUE_URL: (await startNats(t)).url.href }),
      })
      const { payload, headers } = multipart([{ body: await makeImage('png', { width: 90, height: 60 }) }])
      const answer = await fetch(await server.makeLink(), {
        method: 'POST',
        headers: { ...headers, traceparent: `00-${TRACE}-00f067aa0ba902b7-01` },
        body: new Uint8Array(payload),
      })
      t.match(await answer.json(), { processed: [{ status: 'pending' }] })

      const find = (name: string) =>
        until(async () => receiver.spans.find((span) => span.name === name && span.traceId === base64(TRACE)))
      const [root, decode] = await Promise.all([find('POST /uploads/:id'), find('analysis decode')])
      t.match(root.resource, { 'hasty.process': 'api' })
      t.match(decode, { resource: { 'hasty.process': 'worker' }, attributes: { 'hasty.verdict': 'ready' } })
      const parents = new Map(receiver.spans.map(({ spanId, parentSpanId }) => [spanId, parentSpanId]))
      let { spanId } = decode
      while (spanId !== root.spanId && parents.has(spanId)) spanId = parents.get(spanId)!
      t.equal(spanId, root.spanId, 'it is below the request')
      const stored = await find('database uploads.record')
      t.ok(BigInt(decode.startTimeUnixNano) > BigInt(stored.startTimeUnixNano), 'it began after the upload')
      await server.end('SIGTERM')
    },
  )
