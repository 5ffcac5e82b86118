import { type Static, Type } from 'typebox'
import { page, pageQuery } from './pages.ts'
import { LINE } from './text.ts'

export const AuditEntry = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    at: Type.String({ format: 'date-time' }),
    actor: Type.String({
      description:
        'The name of the token: root for a token of the configuration. A command on the machine has local: and the user.',
      examples: ['front-desk'],
    }),
    tokenId: Type.Optional(Type.String({ description: 'The id of a named token.' })),
    action: Type.String({
      description: 'The operationId of the call, or the command of the command line.',
      examples: ['revokeLink'],
    }),
    target: Type.Optional(Type.String({ description: 'The id of the link, image or token.' })),
    detail: Type.Optional(
      Type.String({
        description:
          'JSON: the filter of the call (`query`), and the names of the fields of its body (`fields`).',
        examples: ['{"fields":["sinceNow","label"]}'],
      }),
    ),
    address: Type.String({
      description: "The client's address. A command has the name of its machine.",
      examples: ['192.0.2.1'],
    }),
    status: Type.Integer({
      description: 'The HTTP status of the response. A command has 200, or 500 if it failed.',
      examples: [204],
    }),
  },
  { $id: 'AuditEntry', description: 'An action of an admin.' },
)
export type AuditEntry = Static<typeof AuditEntry>

export const AuditPage = page(AuditEntry, { $id: 'AuditPage' })

/** The filters of the audit log. An entry must match all of them. */
const auditFilter = {
  from: Type.Optional(
    Type.String({
      format: 'date-time',
      description: 'At this time or later.',
      examples: ['2026-11-01T00:00:00Z'],
    }),
  ),
  to: Type.Optional(
    Type.String({
      format: 'date-time',
      description: 'Before this time.',
      examples: ['2026-12-01T00:00:00Z'],
    }),
  ),
  actor: Type.Optional(
    Type.String({ maxLength: 100, pattern: LINE, description: 'By the token with this name.' }),
  ),
  action: Type.Optional(Type.String({ maxLength: 100, pattern: LINE, examples: ['revokeLink'] })),
}

export const AuditQuery = Type.Object({ ...pageQuery, ...auditFilter }, { additionalProperties: false })
export const AuditExport = Type.Object(
  {
    ...auditFilter,
    format: Type.Optional(
      Type.Enum(['ndjson', 'csv'], {
        default: 'ndjson',
        description: 'ndjson: one JSON object in each line. csv: RFC 4180, with a line of names.',
      }),
    ),
  },
  { additionalProperties: false },
)
export type AuditFilter = Static<Type.TObject<typeof auditFilter>>
