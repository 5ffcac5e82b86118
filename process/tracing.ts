import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Attributes,
  type Context,
  type ContextManager,
  context,
  DiagLogLevel,
  diag,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import {
  BatchSpanProcessor,
  NodeTracerProvider,
  type ReadableSpan,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-node'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import pkg from '../package.json' with { type: 'json' }
import { type Operation, operations, useTraces } from '../stores/telemetry.ts'

// A receiver that does not answer must not delay the end of a process.
const FLUSH_MS = 2_000

/**
 * Exports traces by OTLP (HTTP, protobuf) until the returned function is called. OpenTelemetry's own variables configure
 * the sampler, the header fields and the batches.
 *
 * @param role the value of the attribute `hasty.process`: `api` or `worker`
 */
export function startTracing(
  { endpoint, serviceName }: NonNullable<Config['tracing']>,
  role: string,
  log: Pick<Logger, 'warn'>,
): () => Promise<void> {
  const warn = (reason: string) => log.warn({ reason }, 'traces cannot be exported')
  diag.setLogger(
    { error: warn, warn, info() {}, debug() {}, verbose() {} },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
  const contexts = createContexts()
  context.setGlobalContextManager(contexts)
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  const provider = new NodeTracerProvider({
    resource: defaultResource()
      .merge(
        resourceFromAttributes({
          'service.name': serviceName,
          'service.version': pkg.version,
          'hasty.process': role,
        }),
      )
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [
      new BatchSpanProcessor(withoutMessages(new OTLPTraceExporter({ url: `${endpoint}/v1/traces` }))),
    ],
  })
  trace.setGlobalTracerProvider(provider)
  const stopOperations = traceOperations(provider.getTracer('hasty'), contexts.storage)
  useTraces(currentTraceparent)
  return async () => {
    stopOperations()
    useTraces(() => undefined)
    for (const api of [trace, context, propagation, diag]) api.disable()
    const end = AbortSignal.timeout(FLUSH_MS)
    await Promise.race([
      provider.shutdown().catch((error) => warn(String(error))),
      new Promise((resolve) => end.addEventListener('abort', resolve)),
    ])
  }
}

/** OpenTelemetry's own manager hides its storage, which the operations need too. */
function createContexts(): ContextManager & { storage: AsyncLocalStorage<Context> } {
  const storage = new AsyncLocalStorage<Context>()
  const contexts: ReturnType<typeof createContexts> = {
    storage,
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (context, fn, thisArg, ...args) => storage.run(context, () => fn.apply(thisArg as never, args)),
    bind: (context, target) =>
      typeof target === 'function'
        ? (((...args: unknown[]) => storage.run(context, () => target(...args))) as typeof target)
        : target,
    enable: () => contexts,
    disable: () => contexts,
  }
  return contexts
}

const { INTERNAL, CLIENT, CONSUMER } = SpanKind

// The names of OpenTelemetry's semantic conventions, as far as they have one.
const DESCRIPTIONS: Record<Operation['kind'], (name: string) => { kind: SpanKind; attributes?: Attributes }> =
  {
    upload: () => ({ kind: INTERNAL }),
    variant: () => ({ kind: INTERNAL }),
    objects: () => ({ kind: INTERNAL }),
    analysis: () => ({ kind: CONSUMER }),
    database: (name) => ({
      kind: CLIENT,
      attributes: { 'db.system.name': 'postgresql', 'db.operation.name': name },
    }),
    s3: (name) => ({
      kind: CLIENT,
      attributes: { 'rpc.system.name': 'aws-api', 'rpc.method': `S3/${name}` },
    }),
  }

type Ended = Operation & { result?: unknown; error?: unknown }

/** Makes a span of each operation that belongs to a trace. Background work, such as the sweep, has no trace. */
function traceOperations(tracer: Tracer, contexts: AsyncLocalStorage<Context>): () => void {
  // Node's types allow only a storage of the messages themselves.
  const storage = contexts as AsyncLocalStorage<unknown> as AsyncLocalStorage<Operation>
  const spans = new WeakMap<Operation, Span>()
  const start = (operation: Operation) => {
    const { kind, name, trace: given } = operation
    const parent = given
      ? propagation.extract(ROOT_CONTEXT, { traceparent: given })
      : (contexts.getStore() ?? ROOT_CONTEXT)
    if (!isSampled(parent)) return parent
    const span = tracer.startSpan(`${kind} ${name}`, DESCRIPTIONS[kind](name), parent)
    spans.set(operation, span)
    return trace.setSpan(parent, span)
  }
  const end = (operation: unknown) => {
    const span = spans.get(operation as Ended)
    if (!span) return
    const { error, result } = operation as Ended
    if (error !== undefined) {
      span.setStatus({ code: SpanStatusCode.ERROR })
      span.setAttribute('error.type', error instanceof Error ? error.name : 'unknown')
    }
    const { verdict } = (result ?? {}) as { verdict?: { status: string } }
    if (verdict) span.setAttribute('hasty.verdict', verdict.status)
    span.end()
  }
  operations.start.bindStore(storage, start as never)
  operations.asyncEnd.subscribe(end)
  return () => {
    operations.start.unbindStore(storage)
    operations.asyncEnd.unsubscribe(end)
  }
}

const isSampled = (of: Context) => ((trace.getSpanContext(of)?.traceFlags ?? 0) & TraceFlags.SAMPLED) !== 0

/** The current span as a `traceparent` (W3C Trace Context), for the worker. Undefined if it is not exported. */
function currentTraceparent(): string | undefined {
  const current = context.active()
  if (!isSampled(current)) return undefined
  const { traceId, spanId } = trace.getSpanContext(current)!
  return `00-${traceId}-${spanId}-01`
}

/** Exports spans without the messages of errors, which may contain what a client sent. */
function withoutMessages(exporter: SpanExporter): SpanExporter {
  const withoutMessage = (span: ReadableSpan): ReadableSpan =>
    Object.create(span, { status: { value: { code: span.status.code }, enumerable: true } })
  return {
    export: (spans, done) => exporter.export(spans.map(withoutMessage), done),
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  }
}
