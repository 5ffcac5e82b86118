import Fastify from 'fastify'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import auth from './plugins/auth.ts'
import cache from './plugins/cache.ts'
import configuration from './plugins/config.ts'
import cors from './plugins/cors.ts'
import delivery from './plugins/delivery.ts'
import errors from './plugins/errors.ts'
import failedLookups from './plugins/failed-lookups.ts'
import headers from './plugins/headers.ts'
import { fastifyOptions } from './plugins/http.ts'
import imageReader, { type ImageReaderOptions } from './plugins/image-reader.ts'
import linkCredentials from './plugins/link-credentials.ts'
import multipart from './plugins/multipart.ts'
import observability from './plugins/observability.ts'
import openapi from './plugins/openapi.ts'
import overload from './plugins/overload.ts'
import pages from './plugins/pages.ts'
import protocol from './plugins/protocol.ts'
import rawBody from './plugins/raw-body.ts'
import renderers, { type RenderersOptions } from './plugins/renderers.ts'
import services from './plugins/services.ts'
import slowClients from './plugins/slow-clients.ts'
import stopping from './plugins/stopping.ts'
import stores, { type StoresOptions } from './plugins/stores.ts'
import tracing from './plugins/tracing.ts'
import admin from './routes/admin/index.ts'
import console from './routes/console.ts'
import images from './routes/images/index.ts'
import operations from './routes/operations.ts'
import pageRoutes from './routes/pages.ts'
import resumable from './routes/resumable/index.ts'
import uploadPage from './routes/upload-page.ts'
import uploads from './routes/uploads.ts'

/** Builds the service: plugins, then routes. It does not listen yet. */
export function buildApp(
  config: Config,
  log: Logger,
  overrides: StoresOptions & ImageReaderOptions & RenderersOptions = {},
) {
  const app = Fastify(fastifyOptions(config, log))

  app.register(errors)
  app.register(configuration, { config })
  app.register(tracing)
  app.register(delivery)
  app.register(protocol)
  app.register(pages)
  app.register(slowClients)
  app.register(stopping)
  app.register(cors) // before overload: a page of another origin can read its refusals
  app.register(overload)
  app.register(stores, overrides)
  app.register(cache)
  app.register(imageReader, overrides)
  app.register(renderers, overrides)
  app.register(services)
  app.register(observability)
  app.register(openapi)
  app.register(auth)
  app.register(failedLookups)

  app.register(images) // sets its own header fields
  app.register(async (app) => {
    app.register(headers)
    app.register(operations)
    app.register(pageRoutes)
    app.register(console)
    app.register(admin, { prefix: '/admin' })
    app.register(async (app) => {
      app.register(multipart)
      app.register(linkCredentials)
      app.register(rawBody)
      app.register(uploads)
      app.register(resumable)
      app.register(uploadPage)
    })
  })

  return app
}
