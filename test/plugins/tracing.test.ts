import { registerHooks } from 'node:module'
import t from 'tap'

// Before the first import of the service.
const loaded: string[] = []
registerHooks({
  resolve(specifier, context, next) {
    // The library for metrics requires @opentelemetry/api for itself.
    if (/@opentelemetry\/(?!api$)|@fastify\/otel/.test(specifier)) loaded.push(specifier)
    return next(specifier, context)
  },
})
const { admin, build, makeLink, TOKEN } = await import('../helpers/app.ts')
const { makeImage } = await import('../helpers/images.ts')
const { multipart } = await import('../helpers/multipart.ts')
const { startOtlpReceiver } = await import('../helpers/otlp.ts')
const { until } = await import('../helpers/pending.ts')
const { createAnalysis } = await import('../../services/analysis/index.ts')
const { Busy } = await import('../../services/errors.ts')
const { createLog } = await import('../../process/log.ts')
const { currentTrace } = await import('../../stores/telemetry.ts')

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const base64 = (hex: string) => Buffer.from(hex, 'hex').toString('base64')

t.test('without a receiver, the SDK of OpenTelemetry is not loaded, and no trace is kept', async (t) => {
  const app = await build(t)
  const traceparent = `00-${TRACE}-${PARENT}-01`
  const upload = multipart([{ body: await makeImage() }])
  const answer = await app.inject({
    method: 'POST',
    url: await makeLink(app),
    ...upload,
    headers: { ...upload.headers, traceparent },
  })
  t.equal(answer.statusCode, 200)
  t.same(loaded, [])
  t.equal(currentTrace(), undefined)
  t.same(await app.stores.data.sql`select count(*) as images, count(trace) as traced from images`, [
    { images: 1, traced: 0 },
  ])
})

t.test('one trace covers the request, the stores, the database and the analysis by a worker', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `${receiver.url}/`,
    INLINE_LIMIT: '1KiB',
    OTEL_SERVICE_NAME: 'photos',
  }
  const app = await build(t, env)
  t.ok(loaded.length > 0, 'now the modules are loaded')
  const link = await makeLink(app)
  const name = 'private-name.jpg'
  const upload = multipart([{ body: await makeImage('png', { width: 90, height: 60 }), name }])
  const answer = await app.inject({
    method: 'POST',
    url: link,
    ...upload,
    headers: { ...upload.headers, traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'vendor=value' },
  })
  const { id, status } = answer.json().processed[0]
  t.equal(status, 'pending')

  const stop = new AbortController()
  const log = createLog({ logLevel: 'silent' }, 'test')
  const running = createAnalysis({ stores: app.stores, log, concurrency: 1 }).run(stop.signal)
  await until(async () => (await app.stores.queue.waiting()) === 0, 60_000)
  stop.abort()
  await running
  await app.inject({ url: '/livez' })
  await app.close()

  const spans = receiver.spans.filter(({ traceId }) => traceId === base64(TRACE))
  const byName = (name: string) => spans.find((span) => span.name === name)!
  const root = byName('POST /uploads/:id')
  t.equal(root.parentSpanId, base64(PARENT), 'the request continues the trace of its client')
  t.match(root.attributes, { 'hasty.request_id': TRACE, 'http.response.status_code': '200' })
  t.match(root.resource, { 'service.name': 'photos', 'hasty.process': 'api' })
  const expected = [
    'upload receive',
    'upload store',
    'upload database',
    'database uploads.record',
    'database links.find',
    'analysis decode',
  ]
  t.match(new Set(spans.map(({ name }) => name)), new Set(expected))
  const parents = new Map(spans.map(({ spanId, parentSpanId }) => [spanId, parentSpanId]))
  for (const name of expected) {
    let { spanId } = byName(name)
    while (spanId !== root.spanId && parents.has(spanId)) spanId = parents.get(spanId)!
    t.equal(spanId, root.spanId, `${name} is below the request`)
  }
  t.equal(byName('database uploads.record').parentSpanId, byName('upload database').spanId)
  t.equal(byName('analysis decode').attributes['hasty.verdict'], 'ready')

  t.notOk(
    receiver.spans.some(({ name }) => /livez|imageLeases.lease/.test(name)),
    'probes and background work make no trace',
  )
  const sent = Buffer.concat(receiver.requests.map(({ body }) => body)).toString('latin1')
  for (const secret of [id, name, TOKEN, link.split('/').at(-1)!]) t.notOk(sent.includes(secret), secret)
  t.ok(receiver.requests.every(({ path }) => path === '/v1/traces'))
})

t.test('a request without a valid traceparent begins a trace of its own', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const app = await build(t, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
  const invalid = [
    '',
    '00-xyz',
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `ff-${TRACE}-${PARENT}-01`,
    'a'.repeat(5000),
  ]
  for (const traceparent of invalid)
    t.equal((await app.inject({ url: '/admin/stats', headers: { ...admin, traceparent } })).statusCode, 200)
  // The client does not want a trace.
  await app.inject({ url: '/admin/stats', headers: { ...admin, traceparent: `00-${TRACE}-${PARENT}-00` } })
  // An unknown path and an unknown id, with the message of their problem.
  await app.inject({ url: `/nothing/${TOKEN}` })
  await app.inject({ url: `/images/${TOKEN}?signature=${TOKEN}` })
  // A refusal does not pass through the hooks of the library.
  Object.assign(app.services.uploads, { refusalOf: () => new Busy() })
  const refused = { method: 'POST', url: '/uploads/busy', payload: '' } as const
  t.equal((await app.inject(refused)).statusCode, 503)
  t.equal((await app.inject({ ...refused, headers: { accept: 'text/html' } })).statusCode, 503)
  await app.close()
  const roots = receiver.spans.filter(({ parentSpanId }) => !parentSpanId)
  t.equal(roots.filter(({ name }) => name === 'GET /admin/stats').length, invalid.length)
  t.equal(new Set(roots.map(({ traceId }) => traceId)).size, invalid.length + 4)
  t.match(
    roots.filter(({ name }) => name === 'POST /uploads/:id').map(({ attributes }) => attributes),
    [{ 'http.response.status_code': '503' }, { 'http.response.status_code': '503' }],
  )
  t.notOk(receiver.spans.some(({ traceId }) => traceId === base64(TRACE)))
  t.notOk(receiver.spans.some(({ status }) => status?.message))
  t.notOk(Buffer.concat(receiver.requests.map(({ body }) => body)).includes(TOKEN))
})

t.test('a receiver that does not answer delays neither requests nor the end of the process', async (t) => {
  const lines: { msg?: string }[] = []
  const app = await build(
    t,
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', LOG_LEVEL: 'warn' },
    undefined,
    lines,
  )
  t.equal((await app.inject({ url: '/admin/stats', headers: admin })).statusCode, 200)
  const startedAt = performance.now()
  await app.close()
  t.ok(performance.now() - startedAt < 5_000)
})
