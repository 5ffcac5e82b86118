import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { AuditExport, AuditPage, AuditQuery } from '../../schemas/audit.ts'
import { InvalidCursor, InvalidRequest } from '../../services/errors.ts'
import { adminProblems } from '../problems.ts'

const text = { schema: Type.Unsafe({ type: 'string' }) }
const MEDIA_TYPES = { ndjson: 'application/x-ndjson', csv: 'text/csv; charset=utf-8' }

export default (async (app) => {
  const { audit } = app.services

  app.get(
    '/audit',
    {
      config: { scope: 'operate' },
      schema: {
        operationId: 'listAudit',
        summary: 'List what admins did, newest first',
        description:
          'Each call that changes something, that reads the bytes of an image, or that was refused because of a missing ' +
          'scope has an entry. Entries are kept for a year.',
        querystring: AuditQuery,
        response: { 200: AuditPage, ...adminProblems(InvalidCursor, InvalidRequest) },
      },
    },
    ({ query }) => audit.list(query),
  )

  app.get(
    '/audit/export',
    {
      config: { scope: 'operate', isAudited: true },
      schema: {
        operationId: 'exportAudit',
        summary: 'Export the audit log as a file',
        description: 'All entries that match the filter, newest first.',
        querystring: AuditExport,
        response: {
          200: {
            description: 'The entries, one in each line.',
            content: { 'application/x-ndjson': text, 'text/csv': text },
          },
          ...adminProblems(InvalidRequest),
        },
      },
    },
    async ({ query: { format = 'ndjson', ...filter } }, reply) =>
      reply
        .type(MEDIA_TYPES[format])
        .header('Content-Disposition', `attachment; filename="hasty-audit.${format}"`)
        .send(Readable.from(audit.export(filter, format))),
  )
}) satisfies FastifyPluginAsyncTypebox
