import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { IdParams } from '../../schemas/ids.ts'
import {
  AnalyseFilter,
  CreatedSignedUrl,
  ImageBytes,
  ImagePage,
  ImageQuery,
  ImageWithUploads,
  QueuedImages,
  RemovalFilter,
  RemovedImages,
  RemovedVariants,
  SignedUrl,
} from '../../schemas/images.ts'
import {
  ImageGone,
  ImageNotFound,
  InvalidCursor,
  InvalidExpiry,
  InvalidFilter,
  InvalidRequest,
} from '../../services/errors.ts'
import { adminFields } from '../images/fields.ts'
import { adminProblems, ofBody } from '../problems.ts'

export default (async (app) => {
  app.register(reading)
  app.register(changing)
}) satisfies FastifyPluginAsyncTypebox

const reading: FastifyPluginAsyncTypebox = async (app) => {
  const { images } = app.services

  app.get(
    '/images',
    {
      config: { scope: 'images:read' },
      schema: {
        operationId: 'listImages',
        summary: 'List the images, newest first',
        description: 'An image is listed if it matches all filters that are given.',
        querystring: ImageQuery,
        response: {
          200: ImagePage,
          ...adminProblems(InvalidCursor, InvalidFilter, InvalidRequest),
        },
      },
    },
    ({ query }) => images.list(query),
  )

  app.get(
    '/images/:id',
    {
      config: { scope: 'images:read' },
      schema: {
        operationId: 'readImage',
        summary: 'Read the data of an image and its uploads',
        description: 'Images that are corrupt, rejected or removed can be read too.',
        params: IdParams,
        response: {
          200: ImageWithUploads,
          ...adminProblems(ImageNotFound),
        },
      },
    },
    ({ params }) => images.show(params.id),
  )

  app.get(
    '/images/:id/content',
    {
      config: { scope: 'images:read', isAudited: true },
      schema: {
        operationId: 'getImageContent',
        summary: 'Get the original bytes of an image',
        description: 'Corrupt images can be read too. Only the admin can read them.',
        params: IdParams,
        response: {
          200: { description: 'The bytes of the image, as they were received.', content: ImageBytes },
          ...adminProblems(ImageNotFound, ImageGone),
        },
      },
    },
    async ({ params }, reply) => {
      const { row, bytes } = await images.inspect(params.id)
      return reply.headers(adminFields(row)).send(bytes)
    },
  )
}

const changing: FastifyPluginAsyncTypebox = async (app) => {
  const { images, variants, requeue, signatures } = app.services

  app.post(
    '/images/:id/analyse',
    {
      config: { scope: 'operate' },
      schema: {
        operationId: 'analyseImage',
        summary: 'Analyse an image again',
        description: 'The image keeps its status, and is served as before, until a worker has a new verdict.',
        params: IdParams,
        response: { 202: QueuedImages, ...adminProblems(...ofBody, ImageNotFound, ImageGone) },
      },
    },
    async ({ params }, reply) => reply.code(202).send(await requeue.one(params.id)),
  )

  app.post(
    '/images/analyse',
    {
      config: { scope: 'operate' },
      schema: {
        operationId: 'analyseImages',
        summary: 'Analyse all images with a status again',
        description:
          'One call queues 10,000 images at most, the oldest first. Call it again until queued is 0.',
        querystring: AnalyseFilter,
        response: { 202: QueuedImages, ...adminProblems(...ofBody, InvalidRequest) },
      },
    },
    async ({ query }, reply) => reply.code(202).send(await requeue.all(query)),
  )

  app.post(
    '/images/:id/signed-url',
    {
      config: { scope: 'images:read' },
      schema: {
        operationId: 'signImageUrl',
        summary: 'Create a signed URL of an image',
        description:
          'Anybody who has the URL can read the image, also a private one, until the URL expires or the image is removed.',
        params: IdParams,
        body: SignedUrl,
        response: {
          201: CreatedSignedUrl,
          ...adminProblems(InvalidExpiry, ...ofBody, ImageNotFound, ImageGone),
        },
      },
    },
    async ({ params, body }, reply) => {
      await images.requirePresent(params.id)
      const made = await signatures.make(params.id, body)
      const { publicUrl } = app.config
      return reply.code(201).send({ ...made, ...(publicUrl && { url: publicUrl + made.relativePath }) })
    },
  )

  app.delete(
    '/images',
    {
      config: { scope: 'images:delete' },
      schema: {
        operationId: 'removeImages',
        summary: 'Remove all images that match a filter permanently',
        description:
          'One call removes about 1,000 images, the newest first. Call it again until `isDone` is true. At least one ' +
          'filter is needed. With `link`, images are removed that were also received with other links.',
        querystring: RemovalFilter,
        response: { 200: RemovedImages, ...adminProblems(...ofBody, InvalidFilter, InvalidRequest) },
      },
    },
    ({ query }) => images.removeAll(query),
  )

  app.delete(
    '/images/:id/variants',
    {
      config: { scope: 'operate' },
      schema: {
        operationId: 'removeVariants',
        summary: 'Delete the variants of an image',
        description: 'They are made again when they are requested.',
        params: IdParams,
        response: {
          204: Type.Null({ description: 'deleted' }),
          ...adminProblems(...ofBody, ImageNotFound, ImageGone),
        },
      },
    },
    async ({ params }, reply) => {
      await variants.removeOf(await images.requirePresent(params.id))
      return reply.code(204).send(null)
    },
  )

  app.delete(
    '/variants',
    {
      config: { scope: 'operate' },
      schema: {
        operationId: 'removeAllVariants',
        summary: 'Delete the variants of all images',
        description:
          'They are made again when they are requested. One call deletes 10,000 at most. Call it again until removed is 0.',
        response: { 200: RemovedVariants, ...adminProblems(...ofBody) },
      },
    },
    async () => ({ removed: await variants.removeSome(10_000) }),
  )

  app.delete(
    '/images/:id',
    {
      config: { scope: 'images:delete' },
      schema: {
        operationId: 'removeImage',
        summary: 'Remove an image permanently',
        description: 'Its bytes are deleted. If the same bytes are uploaded again, they become a new image.',
        params: IdParams,
        response: {
          204: Type.Null({ description: 'removed' }),
          ...adminProblems(...ofBody, ImageNotFound, ImageGone),
        },
      },
    },
    async ({ params }, reply) => {
      await images.remove(params.id)
      return reply.code(204).send(null)
    },
  )
}
