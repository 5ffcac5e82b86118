import { type Static, Type } from 'typebox'
import { LINE } from './text.ts'
import { Scope } from './tokens.ts'

export const NewSession = Type.Object(
  {
    token: Type.String({ minLength: 1, maxLength: 4096, pattern: LINE, description: 'An access token.' }),
  },
  { $id: 'NewSession', additionalProperties: false },
)

export const Session = Type.Object(
  {
    name: Type.String({ description: 'The name of the access token.', examples: ['root'] }),
    scopes: Type.Array(Scope, { description: 'The scopes of the sender.' }),
    expiresOn: Type.Optional(
      Type.String({
        format: 'date-time',
        description: 'When the session ends. Absent if the request was sent with an access token.',
      }),
    ),
  },
  { $id: 'Session', description: 'The sender of the request.' },
)
export type Session = Static<typeof Session>
