import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { cookieField } from '../../schemas/header-fields.ts'
import { NewSession, Session } from '../../schemas/sessions.ts'
import type { Principal } from '../../services/access/principal.ts'
import { ForeignOrigin, TooManyFailedLookups, Unauthorized } from '../../services/errors.ts'
import { adminProblems, ofBody, problems } from '../problems.ts'

/** Sign-in. It needs no token in a header field. */
export const signIn: FastifyPluginAsyncTypebox = async (app) => {
  app.post(
    '/session',
    {
      schema: {
        tags: ['admin'],
        security: [],
        operationId: 'createSession',
        summary: 'Sign in to the console',
        description:
          'The response sets a cookie, with which the pages of this service may send all calls of the admin. It ends ' +
          'after 12 hours, on sign-out, and when the token is no longer valid. Programs send the token itself.',
        body: NewSession,
        response: {
          201: { ...Session, headers: cookieField },
          ...problems(...ofBody, ForeignOrigin, TooManyFailedLookups, Unauthorized),
        },
      },
    },
    async (request, reply) => {
      await app.openSession(request, reply, request.body.token)
      return reply.code(201).send(show(request.principal))
    },
  )
}

/** The session of a request. */
export const session: FastifyPluginAsyncTypebox = async (app) => {
  app.addHook('onRoute', ({ schema }) => {
    Object.assign(schema ?? {}, { tags: ['admin'], security: [{ accessToken: [] }, { bearer: [] }] })
  })

  app.get(
    '/session',
    {
      schema: {
        operationId: 'readSession',
        summary: 'Read the name and the scopes of the sender',
        description: 'With a cookie of the console, it also returns when the session ends.',
        response: { 200: Session, ...adminProblems() },
      },
    },
    async ({ principal }) => show(principal),
  )

  app.delete(
    '/session',
    {
      schema: {
        operationId: 'endSession',
        summary: 'Sign out of the console',
        description: 'The cookie is no longer valid. Without a cookie, nothing happens.',
        response: { 204: Type.Null({ description: 'signed out' }), ...adminProblems(...ofBody) },
      },
    },
    async (request, reply) => {
      await app.closeSession(request, reply)
      return reply.code(204).send(null)
    },
  )
}

const show = ({ name, scopes, session }: Principal): Session => ({
  name,
  scopes: [...scopes],
  ...(session && { expiresOn: session.expiresAt.toISOString() }),
})
