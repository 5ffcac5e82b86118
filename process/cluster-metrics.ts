import cluster from 'node:cluster'
import { once } from 'node:events'
import { AggregatorRegistry, type Registry } from '@prometheus-io/client'
import { Unavailable } from '../services/errors.ts'

// The library's cluster registry adds up the metrics of all processes, but only in the primary process. A scrape reaches
// one of the API processes, because they share the port. So that process asks the primary for the result.
const REQUEST = 'hasty:metrics'
const RESPONSE = 'hasty:metrics-response'
// The library waits 5 s for the API processes.
const TIMEOUT_MS = 6_000

interface Response {
  type: typeof RESPONSE
  /** The metrics of all processes; absent if one of them did not respond. */
  text?: string
}

/** In the primary process: answers API processes that ask for the metrics of all of them. */
export function serveClusterMetrics(): void {
  const registry = new AggregatorRegistry()
  cluster.on('message', async (worker, message: { type?: unknown }) => {
    if (message.type !== REQUEST) return
    const text = await registry.clusterMetrics().catch(() => undefined)
    const response: Response = { type: RESPONSE, ...(text !== undefined && { text }) }
    if (worker.isConnected()) worker.send(response)
  })
}

/**
 * In an API process: gives the primary process access to this process's metrics.
 *
 * @returns reads the metrics of all API processes together, in Prometheus' text format: sums, except for gauges, which
 * their `aggregator` combines
 */
export function joinClusterMetrics(registry: Registry): () => Promise<string> {
  AggregatorRegistry.setRegistries(registry)
  new AggregatorRegistry()
  return async () => {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    process.send!({ type: REQUEST })
    for (;;) {
      const [message] = (await once(process, 'message', { signal }).catch(() => [{ type: RESPONSE }])) as [
        Response,
      ]
      if (message.type !== RESPONSE) continue
      if (message.text === undefined)
        throw new Unavailable({
          detail: 'An API process did not report its metrics in time. Try again in a few seconds.',
        })
      return message.text
    }
  }
}
