import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ConnectionError, FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problemDetails } from '../schemas/problem.ts'
import * as errors from '../services/errors.ts'
import { Problem } from '../services/errors.ts'
import { StoreUnavailable } from '../stores/unavailable.ts'
import { renderMessage } from '../web/shared/message.ts'
import { endGently, receiveBody, receiveRefused } from './delivery.ts'
import { STATUS_CODES } from './node-http.ts'

/** For `Retry-After` (RFC 9110 §10.2.3). */
const RETRY_AFTER_S = 5
// Failed look-ups are counted by the minute.
const WINDOW_S = 60

declare module 'fastify' {
  interface FastifyInstance {
    /** How many errors this process has sent, by the name of the problem. */
    problemCounts: Map<string, number>
  }
}

/**
 * Converts every error to problem details (RFC 9457), and to a page for a browser. No other code builds an error
 * response.
 */
export default fp(
  async (app) => {
    app.decorate('problemCounts', new Map())
    app.setErrorHandler(sendProblem)
    const allowedMethods = collectMethods(app)
    app.setNotFoundHandler((request, reply) => {
      const allowed = allowedMethods(request.url)
      if (allowed.length === 0) throw new errors.NotFound()
      reply.header('Allow', allowed.join(', ')) // RFC 9110 §15.5.6
      throw new errors.MethodNotAllowed({ detail: `Use ${allowed.join(' or ')} for this path.` })
    })
  },
  { name: 'errors' },
)

/** Collects the methods of all routes. Returns a function that finds those of the routes that match a URL. */
function collectMethods(app: FastifyInstance) {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    if (url === '*') return // the preflights of @fastify/cors
    const known = methods.get(url) ?? new Set()
    methods.set(url, known)
    for (const each of [method].flat()) known.add(each)
  })
  return (url: string) => {
    const [path = ''] = url.split('?', 1)
    const matching = [...methods].filter(([pattern]) => matches(pattern.split('/'), path.split('/')))
    return [...new Set(matching.flatMap(([, each]) => [...each]))].sort()
  }
}

const matches = (pattern: string[], path: string[]) =>
  (pattern.at(-1) === '*' ? pattern.length <= path.length : pattern.length === path.length) &&
  pattern.every((part, n) => part === '*' || part === path[n] || (part.startsWith(':') && path[n] !== ''))

/** Sends an error as a page or as problem details, as the client prefers. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const problem = prepareProblem(error, request, reply)
  challenge(problem, request, reply)
  if (!request.wantsPage()) return sendDetails(problem, reply)
  const message = renderMessage({ kind: problem.name, opensOn: problem.opensOn }, request.pageLanguage())
  return reply.sendPage({ name: 'shared', ...message })
}

const PROBLEM_DETAILS = 'application/problem+json; charset=utf-8'

const sendDetails = (problem: Problem, reply: FastifyReply) =>
  reply.type(PROBLEM_DETAILS).send(problemDetails(problem, String(reply.request.id)))

/** The header fields that each response to a problem has, be it a page or problem details. */
function fieldsOf(problem: Problem): Record<string, string> {
  const seconds = retryAfter(problem)
  return {
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(seconds !== undefined && { 'retry-after': String(seconds) }),
  }
}

function retryAfter(problem: Problem) {
  if ([423, 503].includes(problem.status) || problem instanceof errors.TooManyUploads) return RETRY_AFTER_S
  if (problem instanceof errors.TooManyFailedLookups) return WINDOW_S
}

/**
 * Logs and counts an error, and sets the status and the header fields of its response. An error that is not a `Problem`
 * becomes a general one without internals.
 */
function prepareProblem(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const problem = toProblem(error, request)
  logProblem(problem, error, request)
  countProblem(problem, request)
  removeContentFields(reply, problem.status)
  // Fastify closes the connection after a body that it could not parse. The client would get a reset while it still
  // sends, before it reads the response. Node reads the rest of the body instead.
  reply.removeHeader('Connection')
  // A route may know how long a client has to wait after failed look-ups.
  const known = problem instanceof errors.TooManyFailedLookups && reply.getHeader('retry-after')
  reply.headers({ ...fieldsOf(problem), ...(known && { 'retry-after': known }), 'x-request-id': request.id })
  reply.code(problem.status)
  return problem
}

function countProblem({ name }: Problem, { server: { problemCounts } }: FastifyRequest) {
  problemCounts.set(name, (problemCounts.get(name) ?? 0) + 1)
}

/**
 * The field that a 401 needs (RFC 9110 §11.6.1). For a page it names a scheme that browsers do not know, because they
 * would ask for the password themselves.
 */
function challenge(problem: Problem, request: FastifyRequest, reply: FastifyReply) {
  if (!(problem instanceof errors.PasswordRequired || problem instanceof errors.WrongPassword)) return
  const scheme = request.wantsPage() ? 'Form' : 'Basic'
  reply.header('WWW-Authenticate', `${scheme} realm="link", charset="UTF-8"`)
}

function logProblem({ name, status, title }: Problem, error: unknown, { log }: FastifyRequest) {
  if (name === 'Busy') return // nothing failed, and each refusal costs time that an accepted request needs
  if (status === 503) {
    // An outage fails every request in the same way. A stack would only fill the log.
    const { cause, message } = error as Error
    log.warn({ reason: String(cause ?? message) }, title)
  } else if (status >= 500) {
    log.error({ err: error }, title)
  }
}

const CONTENT_FIELDS = [
  'accept-ranges',
  'cache-control',
  'cache-tag',
  'content-disposition',
  'content-encoding',
  'content-length',
  'etag',
  'expires',
  'last-modified',
  'surrogate-key',
]

/** Removes the header fields of the content that a route wanted to send: they do not describe the problem details. */
function removeContentFields(reply: FastifyReply, status: number) {
  for (const field of CONTENT_FIELDS) reply.removeHeader(field)
  if (status !== 416) reply.removeHeader('content-range')
}

/**
 * Sends the problem of a request that has no route, because its URL cannot be decoded. No hook runs for it, and the
 * request and the reply have no decorators, so it is never a page.
 */
export async function sendRoutingProblem(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  await receiveBody(request.raw)
  sendDetails(prepareProblem(error, request, reply), reply)
}

/** Sends a problem for a request that Fastify does not handle, and closes the connection. */
export function sendRawProblem(problem: Problem, response: ServerResponse) {
  const body = JSON.stringify(problemDetails(problem))
  response.writeHead(problem.status, rawFields(problem, body)).end(body)
}

/** The parts of a refusal's response that are equal for all requests, by the name of the problem. */
const prepared = new Map<string, { status: number; fields: Record<string, string>; start: string }>()

/**
 * Sends the problem of a request that is refused under overload. The response is that of `sendProblem`, but without the
 * hooks and the serializer: each refusal takes time that an accepted request needs. A request for a page, or from a client
 * that is too slow, must get the usual response.
 *
 * @returns whether the response was sent
 */
export async function sendRefusal(problem: Problem, request: FastifyRequest, reply: FastifyReply) {
  if (request.wantsPage() || !(await receiveRefused(request.raw))) return false
  countProblem(problem, request)
  reply.hijack()
  const { status, fields, start } = prepared.get(problem.name) ?? prepare(problem)
  const body = `${start}${JSON.stringify(request.id)}}`
  const length = Buffer.byteLength(body)
  const all = { ...reply.getHeaders(), ...fields, 'content-length': length, 'x-request-id': request.id }
  reply.raw.writeHead(status, all as OutgoingHttpHeaders).end(body)
  return true
}

function prepare(problem: Problem) {
  const response = {
    status: problem.status,
    fields: { 'content-type': PROBLEM_DETAILS, ...fieldsOf(problem) },
    start: `${JSON.stringify(problemDetails(problem)).slice(0, -1)},"requestId":`,
  }
  prepared.set(problem.name, response)
  return response
}

const rawFields = (problem: Problem, body: string) => ({
  connection: 'close',
  'content-type': PROBLEM_DETAILS,
  'content-length': Buffer.byteLength(body),
  ...fieldsOf(problem),
})

const ended = new WeakSet<Socket>()

/**
 * Responds to a connection whose bytes are not an HTTP request (https://nodejs.org/api/http.html#event-clienterror).
 * Node reports each further chunk of bytes as an error too.
 */
export function sendClientProblem(error: ConnectionError, socket: Socket) {
  if (error.code === 'ECONNRESET' || socket.destroyed || ended.has(socket)) return
  ended.add(socket)
  if (!socket.writable) return socket.destroy(error)
  const problem = toClientProblem(error)
  const body = JSON.stringify(problemDetails(problem))
  const fields = Object.entries(rawFields(problem, body))
  socket.write(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n` +
      `${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  )
  endGently(socket)
}

function toClientProblem({ code }: ConnectionError): Problem {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new errors.RequestTimeout()
    case 'HPE_HEADER_OVERFLOW':
      return new errors.HeadersTooLarge()
    default:
      return new errors.InvalidRequest({
        detail: 'The bytes are not a valid HTTP/1.1 request, or the request is incomplete.',
      })
  }
}

function toProblem(error: unknown, { routeOptions, mediaType }: FastifyRequest): Problem {
  if (error instanceof Problem) return error
  if (error instanceof StoreUnavailable) {
    return new errors.Unavailable({ detail: `${error.message} Try again in a few seconds.` })
  }
  const { code, statusCode = 500, validation, validationContext, message } = error as FastifyError
  if (validation) return new errors.InvalidRequest({ detail: describe(validation, validationContext) })
  if (statusCode === 413)
    return new errors.TooLarge({ detail: `Send a body of at most ${routeOptions.bodyLimit} bytes.` })
  if (statusCode === 415) {
    const detail = 'Content-Type is not a valid media type. Send one, such as application/json or image/jpeg.'
    return new errors.UnsupportedMediaType(mediaType ? {} : { detail })
  }
  if (statusCode === 503) return new errors.Unavailable()
  if (code === 'FST_ERR_BAD_URL') {
    // Fastify's message repeats the URL, which may contain a secret id.
    return new errors.InvalidRequest({ detail: 'The URL contains a % that does not begin valid UTF-8.' })
  }
  // Fastify's own messages about a request are safe to show. Any other error is internal and is only logged.
  if (statusCode < 500 && code?.startsWith('FST_')) return new errors.InvalidRequest({ detail: message })
  return new errors.InternalError()
}

function describe(validation: NonNullable<FastifyError['validation']>, context = 'request') {
  // TypeBox reports an unknown field twice. The second message, "schema is false", does not help the reader.
  const faults = validation.flatMap(({ keyword, instancePath, message, params }) => {
    if (keyword === 'boolean') return []
    const unknown = params.additionalProperties as string[] | undefined
    if (unknown) return `${context} has the unknown field ${unknown.join(', ')}`
    const allowed = params.allowedValues as string[] | undefined
    const rule = allowed ? `must be one of: ${allowed.join(', ')}` : message
    return `${context}${instancePath.replaceAll('/', '.')} ${rule}`
  })
  return `${[...new Set(faults)].join('; ')}. /docs describes this call.`
}
