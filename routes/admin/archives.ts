import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { IdParams } from '../../schemas/ids.ts'
import { ImageFilter } from '../../schemas/images.ts'
import { InvalidFilter, InvalidRequest, LinkNotFound } from '../../services/errors.ts'
import { adminProblems } from '../problems.ts'

const Zip = {
  description: 'The archive. Its length is not known before its end.',
  content: { 'application/zip': { schema: Type.Unsafe({ type: 'string', format: 'binary' }) } },
}
const description =
  'A ZIP file of the original images, with the names that the senders gave. It is streamed, so its size is not limited. If the ' +
  'bytes of an image are missing, missing.txt in the archive has its name.'

export default (async (app) => {
  const { archives, links } = app.services
  const config = { scope: 'images:read', isAudited: true } as const

  app.get(
    '/ephemeral-links/:id/archive.zip',
    {
      config,
      schema: {
        operationId: 'archiveLink',
        summary: 'Download all images of a link',
        description,
        params: IdParams,
        response: { 200: Zip, ...adminProblems(LinkNotFound) },
      },
    },
    async ({ params: { id } }, reply) => {
      await links.read(id, { limit: 1 })
      return send(reply, id.slice(0, 8)).send(archives.open({ link: id }))
    },
  )

  app.get(
    '/images/archive.zip',
    {
      config,
      schema: {
        operationId: 'archiveImages',
        summary: 'Download all images that match a filter',
        description,
        querystring: Type.Object(ImageFilter.properties, { additionalProperties: false }),
        response: { 200: Zip, ...adminProblems(InvalidFilter, InvalidRequest) },
      },
    },
    async ({ query }, reply) => {
      const archive = archives.open(query)
      return send(reply, 'images').send(archive)
    },
  )
}) satisfies FastifyPluginAsyncTypebox

const send = (reply: FastifyReply, name: string) =>
  reply
    .type('application/zip')
    .header('Content-Disposition', `attachment; filename="hasty-${name}.zip"`)
    .header('X-Content-Type-Options', 'nosniff')
