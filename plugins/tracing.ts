import type { Span } from '@opentelemetry/api'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

const NOT_TRACED = new Set(['/livez', '/readyz', '/startupz', '/metrics'])

/**
 * Traces requests, if OTEL_EXPORTER_OTLP_ENDPOINT is set. It is the first plugin with hooks, so that a request's span covers
 * them. Without the variable, no module of OpenTelemetry is loaded.
 */
export default fp(
  async (app) => {
    const { tracing } = app.config
    if (!tracing) return
    const { startTracing } = await import('../process/tracing.ts')
    app.addHook('onClose', startTracing(tracing, 'api', app.log))
    await traceRequests(app)
  },
  { name: 'tracing', dependencies: ['config'] },
)

async function traceRequests(app: FastifyInstance) {
  const { FastifyOtelInstrumentation } = await import('@fastify/otel')
  const instrumentation = new FastifyOtelInstrumentation({
    // One span for the request and one for its handler. Hooks take microseconds.
    instrumentHooks: false,
    // A message may contain what a client sent.
    recordExceptions: false,
    ignorePaths: ({ url }) => NOT_TRACED.has(url),
    requestHook: describe,
  })
  await app.register(instrumentation.plugin() as Parameters<typeof app.register>[0])
  // The library ends a span when the response begins.
  app.addHook('onRequestAbort', async (request) => {
    request.opentelemetry().span?.end()
  })
  // A refusal is sent without the hooks by which the library ends a span.
  app.addHook('onResponse', (request, { statusCode }, done) => {
    const { span } = request.opentelemetry()
    if (span?.isRecording()) span.setAttribute('http.response.status_code', statusCode).end()
    done()
  })
}

/** The URL contains ids and signatures. So the span has the route's pattern. */
function describe(span: Span, { id, method, routeOptions: { url = 'none' } }: FastifyRequest) {
  span.updateName(`${method} ${url}`)
  span.setAttributes({ 'url.path': url, 'hasty.request_id': id })
}
