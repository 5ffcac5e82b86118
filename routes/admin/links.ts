import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { locationField } from '../../schemas/header-fields.ts'
import { IdParams } from '../../schemas/ids.ts'
import {
  CreatedLink,
  LinkChange,
  LinkPage,
  LinkQuery,
  LinkWithUploads,
  NewLink,
} from '../../schemas/links.ts'
import { PageQuery } from '../../schemas/pages.ts'
import {
  InvalidCursor,
  InvalidExpiry,
  InvalidRequest,
  LinkNotFound,
  LinkRevoked,
  UnknownRegion,
} from '../../services/errors.ts'
import { adminProblems, ofBody } from '../problems.ts'

export default (async (app) => {
  const { links } = app.services

  app.post(
    '/ephemeral-links',
    {
      config: { scope: 'links:write' },
      schema: {
        operationId: 'createLink',
        summary: 'Create an ephemeral link',
        description:
          'The link expires after the duration `sinceNow`, or at the instant `timeExact`. Give one of the two. Send ' +
          '`url` of the response to the people who are to upload images. It is missing if PUBLIC_URL is not set: then ' +
          'append `relativePath` to the URL of the service.',
        body: NewLink,
        response: {
          201: { ...CreatedLink, headers: locationField },
          ...adminProblems(InvalidExpiry, ...ofBody, UnknownRegion),
        },
      },
    },
    async (request, reply) => {
      const { id, expiresOn } = await links.create(request.body)
      const { publicUrl } = app.config
      const relativePath = `/uploads/${id}`
      reply.code(201).header('Location', `${publicUrl}/admin/ephemeral-links/${id}`)
      return { relativePath, ...(publicUrl && { url: publicUrl + relativePath }), expiresOn }
    },
  )

  app.get(
    '/ephemeral-links',
    {
      config: { scope: 'links:write' },
      schema: {
        operationId: 'listLinks',
        summary: 'List the links, newest first',
        description: 'Links that have expired, were revoked or are used up are listed too.',
        querystring: LinkQuery,
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
      config: { scope: 'links:write' },
      schema: {
        operationId: 'readLink',
        summary: 'Read a link and its uploads, newest first',
        description: '`limit` and `cursor` are for its uploads.',
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

  app.patch(
    '/ephemeral-links/:id',
    {
      config: { scope: 'links:write' },
      schema: {
        operationId: 'changeLink',
        summary: 'Change a link',
        description:
          'Only the fields in the body change; null removes an option or a limit. A new expiry counts from now, and may be ' +
          'earlier or later than the old one. An expired link can be extended, a revoked one cannot be changed. All API ' +
          'processes follow the change within 5 s.',
        params: IdParams,
        body: LinkChange,
        response: {
          200: Type.Ref('Link'),
          ...adminProblems(InvalidExpiry, ...ofBody, LinkNotFound, LinkRevoked),
        },
      },
    },
    ({ params, body }) => links.change(params.id, body),
  )

  app.delete(
    '/ephemeral-links/:id',
    {
      config: { scope: 'links:write' },
      schema: {
        operationId: 'revokeLink',
        summary: 'Revoke a link',
        description: 'The link accepts no more images. The images that were uploaded by it are kept.',
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
