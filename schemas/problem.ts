import { type Static, Type } from 'typebox'
import type { Rejected } from './uploads.ts'

/** RFC 9457, problem details. */
export const Problem = Type.Object(
  {
    type: Type.String({
      description: 'The kind of error, for programs: a URI to compare, not to fetch.',
      examples: ['urn:hasty:problem:link-expired'],
    }),
    title: Type.String({ description: 'The kind of error, for people.', examples: ['The link has expired'] }),
    status: Type.Integer({ minimum: 400, maximum: 599, description: 'The HTTP status code.' }),
    detail: Type.Optional(Type.String({ description: 'The cause of this error, and what to do.' })),
    requestId: Type.Optional(
      Type.String({
        description:
          'The id of the request, as in X-Request-Id: the trace id of traceparent, the X-Request-Id of the request, or a new ' +
          'one. The log of the service has it.',
        examples: ['4bf92f3577b34da6a3ce929d0e0e4736'],
      }),
    ),
    rejected: Type.Optional(
      Type.Array(Type.Ref('Rejected'), {
        description: 'Only for an upload of which no part was accepted: the reason for each part.',
      }),
    ),
    'expected-offset': Type.Optional(
      Type.Integer({ minimum: 0, description: 'Only for a mismatching offset: that of the upload.' }),
    ),
    'provided-offset': Type.Optional(
      Type.Integer({ minimum: 0, description: 'Only for a mismatching offset: that of the request.' }),
    ),
  },
  { $id: 'Problem', description: 'An error (RFC 9457).' },
)

/**
 * Converts an error to problem details. `type` is the name in kebab case: `urn:hasty:problem:link-expired`.
 *
 * @param requestId the id of the request, if it has one
 */
export function problemDetails(
  error: {
    name: string
    status: number
    title: string
    message: string
    rejected?: Rejected[]
    type?: string
    members?: Record<string, number>
  },
  requestId?: string,
): Static<typeof Problem> {
  const { name, status, title, message, rejected, type, members } = error
  return {
    type: type ?? `urn:hasty:problem:${name.replace(/(?<=[a-z])[A-Z]/g, '-$&').toLowerCase()}`,
    title,
    status,
    detail: message,
    ...(requestId !== undefined && { requestId }),
    ...(rejected && { rejected }),
    ...members,
  }
}
