import type { Server } from 'node:http'
import { type FastifyHttpOptions, LogController } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { sendClientProblem, sendRoutingProblem } from './errors.ts'
import { maxHeaderSize } from './node-http.ts'
import { createRequestIds } from './request-id.ts'
import { buildSerializer } from './serializers.ts'
import { headerTimeouts } from './slow-clients.ts'

const BODY_LIMIT = 64 * 1024
// A start may wait while another process migrates the database.
const START_TIMEOUT_MS = 180_000

/** The options of the HTTP server. */
export const fastifyOptions = (
  { trustProxy, clientTimeout }: Config,
  log: Logger,
): FastifyHttpOptions<Server, Logger> => ({
  loggerInstance: log,
  // plugins/observability.ts logs one line for each request, without the secrets that a URL contains.
  logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
  genReqId: createRequestIds(),
  trustProxy,
  // plugins/protocol.ts refuses a request without Host, with problem details.
  http: { ...headerTimeouts(clientTimeout), requireHostHeader: false },
  // While the process stops, it still serves each request that arrives.
  return503OnClosing: false,
  bodyLimit: BODY_LIMIT, // of JSON; MAX_FILE_SIZE limits parts
  frameworkErrors: sendRoutingProblem,
  clientErrorHandler: sendClientProblem,
  // The maximum of Node for a whole URL. So the route gets each id, and an id that is too long is an unknown id.
  routerOptions: { maxParamLength: maxHeaderSize },
  pluginTimeout: START_TIMEOUT_MS,
  schemaController: { compilersFactory: { buildSerializer } },
})
