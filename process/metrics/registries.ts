import { Counter, collectDefaultMetrics, Gauge, Registry } from '@prometheus-io/client'
import { databaseCalls } from '../../stores/telemetry.ts'
import { measureOperations } from './operations.ts'

/** The metrics of a process. */
export interface Metrics {
  /** The work of the process. These counts are kept after it has ended. */
  work: Registry
  /** The state of the process: memory, event loop, database connections. */
  state: Registry
  /** Stops counting. */
  close(): void
}

/** A count that a service keeps in a plain variable. A scrape reads it. */
export interface Count {
  name: string
  help: string
  /** The names of the labels, if `read` gives several numbers. */
  labels?: readonly string[]
  /** A number, or numbers after the values of their labels. */
  read(): number | Iterable<readonly [...string[], number]>
}

// The library's metrics with a name that promtool refuses. Others have the same information.
const MISNAMED = [
  'nodejs_eventloop_utilization_histogram',
  'nodejs_eventloop_utilization_summary',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

/** @param role the value of the label `process` of the state of this process: `api` or `worker` */
export function createMetrics(role: string): Metrics {
  const work = new Registry()
  const state = new Registry()
  collectDefaultMetrics({ register: state, labels: { process: role } })
  for (const name of MISNAMED) state.removeSingleMetric(name)
  // Of several processes, the first start. The library would omit the metric.
  Object.assign(state.getSingleMetric('process_start_time_seconds') ?? {}, { aggregator: 'min' })
  exportCounts(
    state,
    [
      {
        name: 'hasty_database_pool_connections',
        help: 'Connections that the pool may have',
        read: () => databaseCalls.connections,
      },
      {
        name: 'hasty_database_calls',
        help: 'Calls of the database that have not ended',
        read: () => databaseCalls.running,
      },
      {
        name: 'hasty_database_waiting_calls',
        help: 'Calls of the database that have not ended, beyond the connections of the pool',
        read: () => Math.max(0, databaseCalls.running - databaseCalls.connections),
      },
    ].map(({ read, ...count }) => ({ ...count, labels: ['process'], read: () => [[role, read()]] as const })),
    Gauge,
  )
  return { work, state, close: measureOperations(work) }
}

/** Exports counts of services, as counters or gauges. */
export function exportCounts(
  register: Registry,
  counts: readonly Count[],
  Kind: typeof Counter | typeof Gauge = Counter,
): void {
  for (const { name, help, labels = [], read } of counts) {
    new Kind({
      name,
      help,
      registers: [register],
      labelNames: labels,
      collect() {
        this.reset()
        const value = read()
        if (typeof value === 'number') this.inc(value)
        else
          for (const row of value) {
            const values = labels.map((label, n) => [label, row[n] as string])
            this.inc(Object.fromEntries(values), row.at(-1) as number)
          }
      },
    })
  }
}
