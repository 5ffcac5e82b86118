import { createServer, type ServerResponse } from 'node:http'
import { problemDetails } from '../../schemas/problem.ts'
import { InternalError, MethodNotAllowed, NotFound, Problem, Unavailable } from '../../services/errors.ts'

/** The responses on METRICS_PORT. Each function throws a `Problem` if the process is not in that state. */
export interface Operations {
  /** Resolves if the process can do its work. */
  checkReady(): Promise<void>
  readMetrics(): Promise<{ type: string; text: string }>
}

/** The server of METRICS_PORT. */
export interface OperationsServer {
  /** Reports that the process has started. Until then, only `/livez` succeeds. */
  started(operations: Operations): void
  close(): Promise<void>
}

const OK = JSON.stringify({ status: 'ok' })

/** Serves metrics and probes on a port of their own. */
export async function serveOperations({
  host,
  port,
}: {
  host: string
  port: number
}): Promise<OperationsServer> {
  let operations: Operations | undefined
  const requireStarted = () => {
    if (!operations) throw new Unavailable({ detail: 'The process is starting.' })
    return operations
  }
  const health = async (check: () => unknown) => {
    await check()
    return { type: 'application/json; charset=utf-8', text: OK }
  }
  const answers: Record<string, () => Promise<{ type: string; text: string }>> = {
    '/livez': () => health(() => {}),
    '/startupz': () => health(requireStarted),
    '/readyz': () => health(() => requireStarted().checkReady()),
    '/metrics': async () => requireStarted().readMetrics(),
  }
  const server = createServer(async ({ method, url = '' }, response) => {
    try {
      const answer = answers[url.split('?', 1)[0]!]
      if (!answer) throw new NotFound({ detail: `This port has ${Object.keys(answers).join(', ')}.` })
      if (method !== 'GET' && method !== 'HEAD')
        throw new MethodNotAllowed({ detail: 'Use GET for this path.' })
      send(response, 200, await answer())
    } catch (error) {
      const problem = error instanceof Problem ? error : new InternalError()
      send(response, problem.status, {
        type: 'application/problem+json',
        text: JSON.stringify(problemDetails(problem)),
      })
    }
  })
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen({ host, port }, resolve)
  await listening
  return {
    started(given) {
      operations = given
    },
    async close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function send(response: ServerResponse, status: number, { type, text }: { type: string; text: string }) {
  response
    .writeHead(status, {
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
    })
    .end(text)
}
