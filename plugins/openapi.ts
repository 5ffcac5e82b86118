import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifySchemaCompiler, onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import pkg from '../package.json' with { type: 'json' }
import { Image } from '../schemas/images.ts'
import { Link } from '../schemas/links.ts'
import { Problem } from '../schemas/problem.ts'
import { Rejected } from '../schemas/uploads.ts'
import headers from './headers.ts'
import { completeDocument, keepNames } from './openapi-document.ts'

/** Validates requests by their schemas, and publishes the contract at /openapi.json and /docs. */
export default fp(
  async (app) => {
    app.setValidatorCompiler(buildValidator)
    for (const schema of [Rejected, Problem, Image, Link]) app.addSchema(schema)

    await app.register(swagger, {
      openapi: describeService(app.config.publicUrl),
      transform: keepNames,
      transformObject: (made) =>
        completeDocument('openapiObject' in made ? made.openapiObject : made.swaggerObject),
      refResolver: {
        buildLocalReference: ({ $id }, _base, _fragment, index) => String($id ?? `def-${index}`),
      },
    })
    await app.register(async (app) => {
      await app.register(headers)
      app.addHook('onRequest', redirectToPage)
      await app.register(swaggerUi, {
        routePrefix: '/docs',
        // The links of the page are relative, so they work below the path of any proxy.
        indexPrefix: '.',
        logLevel: 'warn',
        staticCSP: pagePolicy(app.config.publicUrl),
        theme: {
          title: 'Hasty',
          css: [{ filename: 'hasty.css', content: '.swagger-ui .topbar { display: none }' }],
        },
      })
      app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
    })
  },
  { name: 'openapi', dependencies: ['config'] },
)

/** Media types of requests that contain images. Images are checked while they are received. */
const IMAGES =
  /^(multipart\/form-data|image\/\*|application\/(offset\+)?octet-stream|application\/partial-upload)$/

const compiled = new WeakMap<TSchema, Validator>()

/**
 * Makes the validator of a part of a request. To compile a schema takes a millisecond, so each is compiled once. The apps of
 * one process share the compiled schemas.
 */
const buildValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart, contentType = '' }) => {
  if (IMAGES.test(contentType)) return () => true
  const validator = compiled.get(schema) ?? Compile(schema)
  compiled.set(schema, validator)
  return (value) => {
    // A valid value needs no conversion. The conversion takes longer than the check.
    if (validator.Check(value)) return { value }
    const converted = httpPart === 'body' ? value : validator.Convert(value)
    return validator.Check(converted) ? { value: converted } : { error: validator.Errors(converted) }
  }
}

/**
 * Redirects the other URLs of the page to the page. The location is relative, because a proxy may have stripped a path.
 * `@fastify/swagger-ui` sends an absolute path, and its scripts do not work on a URL with a query.
 */
const redirectToPage: onRequestHookHandler = ({ url }, reply, done) => {
  const [path = '', query] = url.split('?', 2)
  if (/^\/docs\/static\/(index\.html)?$/.test(path)) reply.redirect('../')
  else if (query !== undefined && path === '/docs') reply.redirect('docs')
  else if (query !== undefined && path === '/docs/') reply.redirect('./')
  else done()
}

/** The parts of the contract that do not belong to one route. */
const describeService = (publicUrl: string): NonNullable<FastifyDynamicSwaggerOptions['openapi']> => ({
  openapi: '3.1.0',
  info: {
    title: 'Hasty',
    version: pkg.version,
    license: { name: 'MIT', identifier: 'MIT' },
    contact: { name: 'Hasty' },
    description:
      'Collects images from people who have no account. An admin creates an ephemeral link. A person or a ' +
      'program with the link uploads images. Each image is identified by the SHA-256 of its bytes, and can be ' +
      'read by its id. Each error is problem details (RFC 9457) with a `type` of its own.',
  },
  servers: [{ url: publicUrl || '/' }],
  tags: [
    { name: 'uploads', description: 'For senders, who have a link.' },
    { name: 'images', description: 'For viewers, who have the id of an image.' },
    { name: 'admin', description: 'For admins, who have the access token.' },
    { name: 'operations', description: 'For orchestrators and monitoring.' },
  ],
  components: {
    securitySchemes: {
      accessToken: {
        type: 'apiKey',
        in: 'header',
        name: 'X-Access-Token',
        description: 'The access token in a header field of its own.',
      },
      bearer: {
        type: 'http',
        scheme: 'bearer',
        description: 'The access token as a bearer token (RFC 6750).',
      },
    },
  },
})

/** The policy of the page: its own scripts, the styles that they set, and calls to this service under its public URL. */
const pagePolicy = (publicUrl: string) => ({
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self' 'unsafe-inline'",
  'img-src': "'self' data:",
  'connect-src': publicUrl ? ["'self'", new URL(publicUrl).origin] : "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
})
