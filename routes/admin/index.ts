import type { FastifyPluginAsync, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import archives from './archives.ts'
import audit from './audit.ts'
import images from './images.ts'
import links from './links.ts'
import { session, signIn } from './session.ts'
import stats from './stats.ts'
import tokens from './tokens.ts'

const MAX_TARGET = 64

/** The calls that need the admin's token, or the cookie of the console. */
export default (async (app) => {
  app.removeContentTypeParser(['text/plain', 'multipart/form-data'])
  app.limitFailedLookups('token')
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('Cache-Control', 'no-store')
    done()
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (isAudited(request, reply)) await record(request, reply)
    return payload
  })
  if (app.config.adminPages) app.register(signIn)
  app.register(async (app) => {
    app.addHook('onRequest', app.auth([app.verifyAdmin]))
    app.addHook('onRequest', (request, _reply, done) => {
      readFormAsJson(request)
      done()
    })
    if (app.config.adminPages) app.register(session)
    app.register(async (app) => {
      app.addHook('onRoute', describeAccess)
      app.register(links)
      app.register(images)
      app.register(archives)
      app.register(stats)
      app.register(tokens)
      app.register(audit)
    })
  })
}) satisfies FastifyPluginAsync

/** Describes in the contract that a route needs a token, and the scope that the token must have. */
function describeAccess({ url, schema, config }: RouteOptions) {
  const scope = config?.scope
  if (!scope) throw new Error(`The route ${url} declares no scope.`)
  if (!schema || schema.tags) return // a HEAD that Fastify adds shares the schema of its GET
  schema.description += ` Scope: \`${scope}\`.`
  Object.assign(schema, { tags: ['admin'], security: [{ accessToken: [] }, { bearer: [] }] })
}

/** Whether the audit log gets the call: it changes something, its route says so, or the token lacks the scope. */
function isAudited({ method, principal, routeOptions }: FastifyRequest, { statusCode }: FastifyReply) {
  if (!principal) return false
  const { isAudited = method !== 'GET' && method !== 'HEAD' } = routeOptions.config
  return isAudited || statusCode === 403
}

/**
 * Records the call before its response is sent. A call that was made is not turned into an error. The response to a call
 * that failed does not wait: if the database is unavailable, the client has waited for it once already.
 */
async function record(request: FastifyRequest, reply: FastifyReply) {
  const { principal, routeOptions, params, query, body, ip, server, log } = request
  const created = reply.statusCode === 201 ? String(reply.getHeader('location') ?? '') : ''
  const action = {
    principal,
    action: routeOptions.schema?.operationId ?? `${routeOptions.url}`,
    target: printable((params as { id?: string }).id) ?? (created.split('/').at(-1) || undefined),
    query: query as object,
    body,
    address: ip.slice(0, MAX_TARGET),
    status: reply.statusCode,
  }
  const recording = server.services.audit.record(action).catch((err) => {
    const { body: _, principal: __, ...shown } = action
    log.error({ err, actor: principal.name, ...shown }, 'the audit log could not be written')
  })
  if (reply.statusCode < 500) await recording
}

const printable = (id: string | undefined) => id?.slice(0, MAX_TARGET).replace(/[^\w-]/g, '?')

/**
 * Every body is JSON. `curl -d` sends the content type of a form with it, and some programs send none. This does not let
 * a page of another origin send a request: its form cannot have the header field with the token. A request with the
 * console's cookie has to be JSON.
 */
function readFormAsJson({ headers, principal }: FastifyRequest) {
  if (principal?.session) return
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  const type = headers['content-type'] ?? ''
  if (hasBody && /^$|^application\/x-www-form-urlencoded *(;|$)/i.test(type))
    headers['content-type'] = 'application/json'
}
