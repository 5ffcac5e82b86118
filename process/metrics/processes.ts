import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from '@prometheus-io/client'
import type { Metrics } from './registries.ts'

// A scrape reaches one process, but must report the work of all. So each child process reports its metrics to its parent,
// and the parent keeps the work of children that have ended. Otherwise a sum would decrease, and Prometheus would count
// the work of the other processes again.

const ASK = 'hasty:ask-metrics'
const REPORT = 'hasty:metrics'
const ASK_ALL = 'hasty:ask-all-metrics'
const REPORT_ALL = 'hasty:all-metrics'

// A child that is killed loses at most the work of this time.
const REPORT_EVERY_MS = 1_000
// A child that does not answer in this time counts with its last report.
const TIMEOUT_MS = 2_000

/** Metrics as objects, as a registry gives them. */
export type Snapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/** The last report of a child. */
interface Report {
  work: Snapshot
  state: Snapshot
}

/** In a parent process: the metrics of its children. */
export interface Collector {
  /** Collects the metrics of a child from now on. Its messages need `serialization: 'advanced'`, which keeps NaN. */
  add(child: ChildProcess): void
  /** The work of all children, also of those that have ended, and the state of the living ones. */
  read(): Promise<Snapshot[]>
}

export function createCollector(): Collector {
  const reports = new Map<ChildProcess, Report>()
  const collector: Collector = {
    add(child) {
      reports.set(child, { work: [], state: [] })
      child.on('message', (message: { type?: unknown } & Partial<Report>) => {
        if (message.type === REPORT) Object.assign(reports.get(child) ?? {}, withoutType(message))
        if (message.type === ASK_ALL) collector.read().then((all) => send(child, { type: REPORT_ALL, all }))
      })
      // The last message may arrive after the end.
      Promise.all([once(child, 'exit'), child.connected ? once(child, 'disconnect') : undefined])
        .catch(() => {})
        .finally(async () => {
          const { work } = reports.get(child)!
          reports.delete(child)
          ended = await add(
            ended,
            work.filter(({ type }) => String(type) !== 'gauge'),
          )
        })
    },

    async read() {
      await Promise.race([
        Promise.all([...reports.keys()].map(ask)),
        sleep(TIMEOUT_MS, undefined, { ref: false }),
      ])
      return [ended, ...[...reports.values()].flatMap(({ work, state }) => [work, state])]
    },
  }
  let ended: Snapshot = []
  return collector
}

const withoutType = ({ type: _, ...report }: object & { type?: unknown }) => report

async function ask(child: ChildProcess) {
  if (!child.connected) return
  send(child, { type: ASK })
  for (;;) {
    const [message] = await once(child, 'message').catch(() => [{ type: REPORT }])
    if (message.type === REPORT && (message.state || !child.connected)) return
  }
}

const send = (child: ChildProcess, message: object) => child.connected && child.send(message, () => {})

/** Adds up the metrics of processes. */
const add = (...snapshots: Snapshot[]): Promise<Snapshot> =>
  Registry.aggregate(snapshots as unknown as object[]).getMetricsAsJSON()

/** In a child process: reports its metrics to its parent, about every second and when it is asked. */
export function reportMetrics({ work, state }: Metrics): () => void {
  const report = async (message: object) => process.connected && process.send!({ type: REPORT, ...message })
  const reporting = setInterval(async () => report({ work: await work.getMetricsAsJSON() }), REPORT_EVERY_MS)
  reporting.unref()
  const answer = async ({ type }: { type?: unknown }) => {
    if (type !== ASK) return
    report({ work: await work.getMetricsAsJSON(), state: await state.getMetricsAsJSON() })
  }
  process.on('message', answer)
  return () => {
    clearInterval(reporting)
    process.off('message', answer)
  }
}

/** In a child process: asks its parent for the metrics of all children. Undefined if it does not answer. */
export async function readFromParent(): Promise<Snapshot[] | undefined> {
  const signal = AbortSignal.timeout(2 * TIMEOUT_MS)
  process.send!({ type: ASK_ALL })
  for (;;) {
    const [message] = await once(process, 'message', { signal }).catch(() => [{ type: REPORT_ALL }])
    if (message.type === REPORT_ALL) return message.all
  }
}

/** Prometheus' text format of the metrics of several processes together. */
export const toText = (snapshots: Snapshot[]): Promise<string> =>
  Registry.aggregate(snapshots as unknown as object[]).metrics()
