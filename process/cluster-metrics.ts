import cluster from 'node:cluster'
import { once } from 'node:events'
import { AggregatorRegistry } from '@prometheus-io/client'
import { Unavailable } from '../services/errors.ts'

// A scrape reaches one of the API processes. It asks the primary process, which asks all of them.
const REQUEST = 'hasty:metrics'
const ANSWER = 'hasty:metrics-answer'
const PATIENCE_MS = 6_000

interface Answer {
  type: typeof ANSWER
  /** The metrics of all, or else that one of them did not tell. */
  text?: string
}

/** In the primary process: answers the API processes that ask. */
export function answerForAll(): void {
  const registry = new AggregatorRegistry()
  cluster.on('message', async (worker, message: { type?: unknown }) => {
    if (message.type !== REQUEST) return
    const text = await registry.clusterMetrics().catch(() => undefined)
    const answer: Answer = { type: ANSWER, ...(text !== undefined && { text }) }
    if (worker.isConnected()) worker.send(answer)
  })
}

/**
 * In an API process: lets the primary read the metrics of this one, and returns what asks for those of all together:
 * sums, but of a gauge as its `aggregator` says.
 */
export function joinMetrics(): () => Promise<string> {
  new AggregatorRegistry()
  return async () => {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    process.send!({ type: REQUEST })
    for (;;) {
      const [message] = (await once(process, 'message', { signal }).catch(() => [{ type: ANSWER }])) as [
        Answer,
      ]
      if (message.type !== ANSWER) continue
      if (message.text === undefined)
        throw new Unavailable({
          detail: 'An API process does not tell its metrics. Try again in a few seconds.',
        })
      return message.text
    }
  }
}
