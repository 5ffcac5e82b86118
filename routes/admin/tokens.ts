import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { locationField } from '../../schemas/header-fields.ts'
import { IdParams } from '../../schemas/ids.ts'
import { PageQuery } from '../../schemas/pages.ts'
import { CreatedToken, NewToken, TokenPage } from '../../schemas/tokens.ts'
import { InvalidCursor, InvalidRequest, TokenNotFound, TokenRevoked } from '../../services/errors.ts'
import { adminProblems, ofBody } from '../problems.ts'

const config = { scope: 'operate' } as const

export default (async (app) => {
  const { namedTokens } = app.services

  app.post(
    '/tokens',
    {
      config,
      schema: {
        operationId: 'createToken',
        summary: 'Create an access token',
        description:
          'The response is the only one that has the token. A token can create only tokens whose scopes it has itself.',
        body: NewToken,
        response: { 201: { ...CreatedToken, headers: locationField }, ...adminProblems(...ofBody) },
      },
    },
    async ({ body, principal }, reply) => {
      const token = await namedTokens.create(body, principal)
      reply.code(201).header('Location', `${app.config.publicUrl}/admin/tokens/${token.id}`)
      return token
    },
  )

  app.get(
    '/tokens',
    {
      config,
      schema: {
        operationId: 'listTokens',
        summary: 'List the access tokens, newest first',
        description: 'Revoked tokens are listed too. The tokens of the configuration are not.',
        querystring: PageQuery,
        response: { 200: TokenPage, ...adminProblems(InvalidCursor, InvalidRequest) },
      },
    },
    ({ query }) => namedTokens.list(query),
  )

  app.post(
    '/tokens/:id/rotate',
    {
      config,
      schema: {
        operationId: 'rotateToken',
        summary: 'Replace an access token by a new one',
        description:
          'The name and the scopes stay. The old token ends at once, in other processes within 5 s. The response is the ' +
          'only one that has the new token.',
        params: IdParams,
        response: { 200: CreatedToken, ...adminProblems(...ofBody, TokenNotFound, TokenRevoked) },
      },
    },
    ({ params, principal }) => namedTokens.rotate(params.id, principal),
  )

  app.delete(
    '/tokens/:id',
    {
      config,
      schema: {
        operationId: 'revokeToken',
        summary: 'Revoke an access token',
        description: 'The token ends at once, in other processes within 5 s.',
        params: IdParams,
        response: {
          204: Type.Null({ description: 'revoked' }),
          ...adminProblems(...ofBody, TokenNotFound),
        },
      },
    },
    async ({ params }, reply) => {
      await namedTokens.revoke(params.id)
      return reply.code(204).send(null)
    },
  )
}) satisfies FastifyPluginAsyncTypebox
