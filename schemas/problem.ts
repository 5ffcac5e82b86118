import { type Static, Type } from 'typebox'
import type { Rejected } from './uploads.ts'

/** RFC 9457, problem details. */
export const Problem = Type.Object(
  {
    type: Type.String({
      description: 'what went wrong, for programs: a URI to compare, not to fetch',
      examples: ['urn:hasty:problem:link-expired'],
    }),
    title: Type.String({ description: 'what went wrong, for people', examples: ['The link has expired'] }),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.Optional(Type.String({ description: 'this very case, and what to do' })),
    rejected: Type.Optional(
      Type.Array(Type.Ref('Rejected'), { description: 'of an upload: why no part of it was taken in' }),
    ),
  },
  { $id: 'Problem', description: 'an error (RFC 9457)' },
)

/** Makes the answer of an error. */
export function problemDetails(error: {
  name: string
  status: number
  title: string
  message: string
  rejected?: Rejected[]
}): Static<typeof Problem> {
  const { name, status, title, message, rejected } = error
  return {
    type: `urn:hasty:problem:${name.replace(/(?<=[a-z])[A-Z]/g, '-$&').toLowerCase()}`,
    title,
    status,
    detail: message,
    ...(rejected && { rejected }),
  }
}
