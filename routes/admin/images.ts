import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { IdParams } from '../../schemas/ids.ts'
import { ImagePage, ImageQuery } from '../../schemas/images.ts'
import {
  ImageGone,
  ImageNotFound,
  InvalidCursor,
  InvalidFilter,
  InvalidRequest,
  TooManyTokens,
  Unauthorized,
} from '../../services/errors.ts'
import { problems } from '../problems.ts'

export default (async (app) => {
  const { images } = app.services

  app.get(
    '/images',
    {
      schema: {
        operationId: 'listImages',
        summary: 'List the images, newest first',
        querystring: ImageQuery,
        response: {
          200: ImagePage,
          ...problems(InvalidCursor, InvalidFilter, InvalidRequest, TooManyTokens, Unauthorized),
        },
      },
    },
    ({ query }) => images.list(query),
  )

  app.get(
    '/images/:id',
    {
      schema: {
        operationId: 'readImage',
        summary: 'Read what is known of an image',
        params: IdParams,
        response: { 200: Type.Ref('Image'), ...problems(TooManyTokens, Unauthorized, ImageNotFound) },
      },
    },
    ({ params }) => images.show(params.id),
  )

  app.delete(
    '/images/:id',
    {
      schema: {
        operationId: 'removeImage',
        summary: 'Remove an image for good',
        params: IdParams,
        response: {
          204: Type.Null({ description: 'removed' }),
          ...problems(TooManyTokens, Unauthorized, ImageNotFound, ImageGone),
        },
      },
    },
    async ({ params }, reply) => {
      await images.remove(params.id)
      return reply.code(204).send(null)
    },
  )
}) satisfies FastifyPluginAsyncTypebox
