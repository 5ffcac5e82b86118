import Fastify, { LogController } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import auth from './plugins/auth.ts'
import cache from './plugins/cache.ts'
import configuration from './plugins/config.ts'
import cors from './plugins/cors.ts'
import errors, { answerClientError, answerProblem } from './plugins/errors.ts'
import failedLookups from './plugins/failed-lookups.ts'
import headers from './plugins/headers.ts'
import multipart from './plugins/multipart.ts'
import observability from './plugins/observability.ts'
import openapi from './plugins/openapi.ts'
import services from './plugins/services.ts'
import slowClients, { headerTimeouts } from './plugins/slow-clients.ts'
import stores from './plugins/stores.ts'
import admin from './routes/admin/index.ts'
import images from './routes/images.ts'
import operations from './routes/operations.ts'
import uploads from './routes/uploads.ts'

// An import would load all of that module's lazy parts, fetch among them: 10 MB of memory.
const { maxHeaderSize } = process.getBuiltinModule('node:http')

const BODY_LIMIT = 64 * 1024
// A start may wait while another process brings the schema up to date.
const START_TIMEOUT_MS = 180_000

/** Builds the service: its plugins, then its routes. It listens nowhere yet. */
export function buildApp(config: Config, log: Logger) {
  const app = Fastify({
    loggerInstance: log,
    // plugins/observability.ts writes one line for each request, without what is secret in a URL.
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: config.trustProxy,
    http: headerTimeouts(config.clientTimeout),
    bodyLimit: BODY_LIMIT, // of JSON; parts have MAX_FILE_SIZE
    frameworkErrors: answerProblem,
    clientErrorHandler: answerClientError,
    // As much as Node lets a URL have: what is too long for an id is an unknown one, to a route as any other.
    routerOptions: { maxParamLength: maxHeaderSize },
    pluginTimeout: START_TIMEOUT_MS,
  })

  app.register(errors)
  app.register(configuration, { config })
  app.register(slowClients)
  app.register(cors)
  app.register(stores)
  app.register(cache)
  app.register(services)
  app.register(observability)
  app.register(openapi)
  app.register(auth)
  app.register(failedLookups)

  // What is asked for most sets its header fields itself.
  app.register(images)
  app.register(async (app) => {
    app.register(headers)
    app.register(operations)
    app.register(admin, { prefix: '/admin' })
    app.register(async (app) => {
      app.register(multipart)
      app.register(uploads)
    })
  })

  return app
}
