import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { IdParams } from '../../schemas/ids.ts'
import { CreatedLink, LinkPage, LinkWithUploads, NewLink } from '../../schemas/links.ts'
import { PageQuery } from '../../schemas/pages.ts'
import {
  InvalidCursor,
  InvalidExpiry,
  InvalidRequest,
  LinkNotFound,
  UnknownRegion,
} from '../../services/errors.ts'
import { adminProblems, ofBody } from '../problems.ts'

export default (async (app) => {
  const { links } = app.services

  app.post(
    '/ephemeral-links',
    {
      schema: {
        operationId: 'createLink',
        summary: 'Make an ephemeral link',
        body: NewLink,
        response: {
          201: CreatedLink,
          ...adminProblems(InvalidExpiry, ...ofBody, UnknownRegion),
        },
      },
    },
    async (request, reply) => {
      const { id, expiresOn } = await links.create(request.body)
      reply.code(201).header('Location', `${app.config.publicUrl}/admin/ephemeral-links/${id}`)
      return { relativePath: `/uploads/${id}`, expiresOn }
    },
  )

  app.get(
    '/ephemeral-links',
    {
      schema: {
        operationId: 'listLinks',
        summary: 'List the links, newest first',
        querystring: PageQuery,
        response: {
          200: LinkPage,
          ...adminProblems(InvalidCursor, InvalidRequest),
        },
      },
    },
    ({ query }) => links.list(query),
  )

  app.get(
    '/ephemeral-links/:id',
    {
      schema: {
        operationId: 'readLink',
        summary: 'Read a link and what came in by it, newest first',
        params: IdParams,
        querystring: PageQuery,
        response: {
          200: LinkWithUploads,
          ...adminProblems(InvalidCursor, InvalidRequest, LinkNotFound),
        },
      },
    },
    ({ params, query }) => links.read(params.id, query),
  )

  app.delete(
    '/ephemeral-links/:id',
    {
      schema: {
        operationId: 'revokeLink',
        summary: 'Revoke a link: nothing more comes in by it; what came in stays',
        params: IdParams,
        response: {
          204: Type.Null({ description: 'revoked' }),
          ...adminProblems(...ofBody, LinkNotFound),
        },
      },
    },
    async ({ params }, reply) => {
      await links.revoke(params.id)
      return reply.code(204).send(null)
    },
  )
}) satisfies FastifyPluginAsyncTypebox
