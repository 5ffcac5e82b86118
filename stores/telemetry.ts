import { type Channel, channel, tracingChannel } from 'node:diagnostics_channel'

/**
 * Work whose duration is measured:
 * - `upload`: a stage of an upload: `receive` (to the last byte of the part), `store` (commit of the object), `database`
 *   (record)
 * - `s3`: a request to a bucket, with all its attempts, by the name of the operation
 * - `analysis`: an image in a decoder
 * - `variant`: a variant in a decoder
 * - `database`, `objects`: a call of a store, only if requests are traced
 */
export interface Operation {
  kind: 'upload' | 's3' | 'analysis' | 'variant' | 'database' | 'objects'
  name: string
  /** The trace to which the work belongs, as a `traceparent` (W3C Trace Context). Undefined: the current one. */
  trace?: string | undefined
}

/** Metrics and traces subscribe to it. Without a subscriber, an operation costs one comparison. */
export const operations = tracingChannel<Operation, Operation & { result?: unknown; error?: unknown }>(
  'hasty:operation',
)

/** Does `work` and reports it as an operation. */
export const measure = <T>(operation: Operation, work: () => Promise<T>): Promise<T> =>
  operations.tracePromise(work, operation)

/** Why a sandboxed process was ended: the file took too long or too much memory, or the process ended by itself. */
export type DecoderEnd = 'timeout' | 'memory' | 'crash'

/** The ends of sandboxed processes, except for orderly ones. Its messages are of the type `DecoderEnd`. */
export const decoderEnds: Channel = channel('hasty:decoder-end')

/** The calls of the database that have not ended, also those that wait for a connection, and the size of the pool. */
export const databaseCalls = { running: 0, connections: 0 }

let readTrace: () => string | undefined = () => undefined

/** The current trace as a `traceparent`. Undefined without tracing. */
export const currentTrace = () => readTrace()

/** Sets how the current trace is read. */
export function useTraces(read: () => string | undefined) {
  readTrace = read
}
