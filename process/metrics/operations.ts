import { Counter, Histogram, type Registry } from '@prometheus-io/client'
import { type DecoderEnd, decoderEnds, type Operation, operations } from '../../stores/telemetry.ts'
import { StoreUnavailable } from '../../stores/unavailable.ts'

type Ended = Operation & { result?: unknown; error?: unknown }

const SHORT_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const LONG_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** Measures the operations of this process. Returns a function that stops it. */
export function measureOperations(register: Registry): () => void {
  const registers = [register]
  const stages = new Histogram({
    name: 'hasty_upload_stage_duration_seconds',
    help: 'Duration of the stages of an upload: receive, store, database',
    labelNames: ['stage'] as const,
    buckets: SHORT_S,
    registers,
  })
  const requests = new Histogram({
    name: 'hasty_s3_request_duration_seconds',
    help: 'Duration of requests to buckets, with all attempts, by operation and outcome',
    labelNames: ['operation', 'outcome'] as const,
    buckets: SHORT_S,
    registers,
  })
  const analyses = new Histogram({
    name: 'hasty_analysis_duration_seconds',
    help: 'Duration of analyses by verdict; error: there was no verdict, and the image is analysed again',
    labelNames: ['verdict'] as const,
    buckets: LONG_S,
    registers,
  })
  const variants = new Histogram({
    name: 'hasty_variant_duration_seconds',
    help: 'Duration of creating variants, by outcome',
    labelNames: ['outcome'] as const,
    buckets: LONG_S,
    registers,
  })
  const terminations = new Counter({
    name: 'hasty_decoder_terminations_total',
    help: 'Sandboxed processes that were terminated, by cause',
    labelNames: ['cause'] as const,
    registers,
  })
  // Prometheus does not see the increase of a series that begins with 1.
  for (const cause of ['timeout', 'memory', 'crash'] satisfies DecoderEnd[]) terminations.inc({ cause }, 0)
  const observers: Record<Operation['kind'], (ended: Ended, seconds: number) => void> = {
    upload: ({ name, error }, seconds) => error === undefined && stages.observe({ stage: name }, seconds),
    s3: (ended, seconds) => requests.observe({ operation: ended.name, outcome: outcomeOf(ended) }, seconds),
    analysis: (ended, seconds) => analyses.observe({ verdict: verdictOf(ended) }, seconds),
    variant: ({ error }, seconds) =>
      variants.observe({ outcome: error === undefined ? 'success' : 'error' }, seconds),
    // Only traces have them.
    database() {},
    objects() {},
  }

  const starts = new WeakMap<Operation, number>()
  const subscribers = {
    start: (operation: Operation) => void starts.set(operation, performance.now()),
    asyncEnd(ended: Ended) {
      const start = starts.get(ended)
      // It may have begun before the measurement did.
      if (start !== undefined) observers[ended.kind](ended, (performance.now() - start) / 1000)
    },
    end() {},
    asyncStart() {},
    error() {},
  }
  const countEnd = (cause: unknown) => terminations.inc({ cause: cause as DecoderEnd })
  operations.subscribe(subscribers)
  decoderEnds.subscribe(countEnd)
  return () => {
    operations.unsubscribe(subscribers)
    decoderEnds.unsubscribe(countEnd)
  }
}

function outcomeOf({ error }: Ended) {
  if (error === undefined) return 'success'
  if (error instanceof StoreUnavailable) return 'unavailable'
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  return status === 404 ? 'not_found' : 'error'
}

function verdictOf({ result }: Ended) {
  const { verdict } = (result ?? {}) as { verdict?: { status: string } }
  return verdict?.status ?? 'error'
}
