import type { Socket } from 'node:net'
import type { ConnectionError, FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problemDetails } from '../schemas/problem.ts'
import * as errors from '../services/errors.ts'
import { Problem } from '../services/errors.ts'
import { StoreUnavailable } from '../stores/unavailable.ts'

// An import would load all of that module's lazy parts, fetch among them: 10 MB of memory.
const { STATUS_CODES } = process.getBuiltinModule('node:http')

/** For `Retry-After` (RFC 9110 §10.2.3). */
const RETRY_AFTER_S = 5

/** Turns every error into problem details (RFC 9457); nothing else builds an error answer. */
export default fp(
  async (app) => {
    app.setErrorHandler(answerProblem)
    app.setNotFoundHandler(() => {
      throw new errors.NotFound()
    })
  },
  { name: 'errors' },
)

/** Answers with the problem that an error is, or with a general one that tells nothing of the inside. */
export function answerProblem(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const problem = toProblem(error, request)
  if (problem instanceof errors.Unavailable) {
    // An outage fails every request and probe, each in the same place: no stacks.
    const { cause, message } = error as Error
    request.log.warn({ reason: String(cause ?? message) }, problem.title)
  } else if (problem.status >= 500) {
    request.log.error({ err: error }, problem.title)
  }
  // Fastify closes the connection where a body could not be parsed, and who still sends would get a reset before the
  // answer. Node reads and drops the rest.
  if (reply.hasHeader('Connection')) reply.removeHeader('Connection')
  // A route may have begun to describe what it could not give: an error is not to be kept for a year.
  reply.removeHeader('Cache-Control')
  if (problem.status === 503) reply.header('Retry-After', RETRY_AFTER_S)
  reply.header('X-Content-Type-Options', 'nosniff')
  reply.code(problem.status).type('application/problem+json').send(problemDetails(problem))
}

/** Answers what is no HTTP request (https://nodejs.org/api/http.html#event-clienterror): there is no reply to send. */
export function answerClientError(error: ConnectionError, socket: Socket) {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  if (socket.writable) {
    const problem = problemDetails(toClientProblem(error))
    const body = JSON.stringify(problem)
    socket.write(
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\nConnection: close\r\n` +
        `Content-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
  }
  socket.destroy(error)
}

function toClientProblem({ code }: ConnectionError): Problem {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new errors.RequestTimeout()
    case 'HPE_HEADER_OVERFLOW':
      return new errors.HeadersTooLarge()
    default:
      return new errors.InvalidRequest({
        detail: 'It is no HTTP/1.1 request, or it ends before it is complete.',
      })
  }
}

function toProblem(error: unknown, { routeOptions }: FastifyRequest): Problem {
  if (error instanceof Problem) return error
  if (error instanceof StoreUnavailable) {
    return new errors.Unavailable({ detail: `There is ${error.message}. Try again in a few seconds.` })
  }
  const { code, statusCode = 500, validation, validationContext, message } = error as FastifyError
  if (validation) return new errors.InvalidRequest({ detail: describe(validation, validationContext) })
  if (statusCode === 413)
    return new errors.TooLarge({ detail: `Send a body of ${routeOptions.bodyLimit} bytes at most.` })
  if (statusCode === 415) return new errors.UnsupportedMediaType()
  if (statusCode === 503) return new errors.Unavailable()
  if (code === 'FST_ERR_BAD_URL') {
    // Fastify's message repeats the URL, and an id with it.
    return new errors.InvalidRequest({
      detail: 'The URL has a % that does not begin an encoded UTF-8 letter.',
    })
  }
  // What Fastify says of a request is safe to show; what else fails is ours, and stays inside.
  if (statusCode < 500 && code?.startsWith('FST_')) return new errors.InvalidRequest({ detail: message })
  return new errors.InternalError()
}

function describe(validation: NonNullable<FastifyError['validation']>, context = 'request') {
  // Of an unknown field TypeBox tells twice; that its "schema is false" helps nobody.
  const faults = validation.flatMap(({ keyword, instancePath, message, params }) => {
    if (keyword === 'boolean') return []
    const unknown = params.additionalProperties as string[] | undefined
    if (unknown) return `${context} has the unknown field ${unknown.join(', ')}`
    return `${context}${instancePath.replaceAll('/', '.')} ${message}`
  })
  return `${[...new Set(faults)].join('; ')}. /docs tells what this call takes.`
}
