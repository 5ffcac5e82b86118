import { type Static, Type } from 'typebox'
import { Id } from './ids.ts'
import { page } from './pages.ts'

/** The scopes of tokens, with their meanings. The token of the configuration, the root token, has all scopes. */
export const SCOPES = {
  'links:write': 'create, read, change and revoke links',
  'images:read': 'list, search and download images',
  'images:delete': 'remove images',
  'stats:read': 'read the statistics, and the use of storage',
  operate: 'analyse images again, manage tokens, and read the audit log',
} as const
export type Scope = keyof typeof SCOPES
export const scopes = Object.keys(SCOPES) as Scope[]

export const Scope = Type.Enum(scopes, {
  description: Object.entries(SCOPES)
    .map(([scope, meaning]) => `${scope}: ${meaning}.`)
    .join(' '),
})

const name = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}$',
  description: 'A name for the admin and the audit log: letters, digits, spaces and . _ @ -',
  examples: ['front-desk'],
})
const granted = Type.Array(Scope, { minItems: 1, maxItems: scopes.length, uniqueItems: true })

export const NewToken = Type.Object(
  { name, scopes: granted },
  {
    $id: 'NewToken',
    additionalProperties: false,
    examples: [{ name: 'front-desk', scopes: ['links:write', 'stats:read'] }],
  },
)
export type NewToken = Static<typeof NewToken>

const token = {
  id: Id,
  name,
  scopes: granted,
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String({ description: 'The name of the token that created it.', examples: ['root'] }),
  revokedAt: Type.Optional(Type.String({ format: 'date-time' })),
}

export const Token = Type.Object(token, { $id: 'Token', description: 'A token, without its secret.' })
export type Token = Static<typeof Token>

export const CreatedToken = Type.Object(
  {
    ...token,
    token: Type.String({
      description: 'The token itself. It is not stored, so it is shown only once.',
      examples: ['hasty_3vXh2nB7mQ9sK4tL8pR1wY6zC5dF0gJqVxN2bM7kT4e'],
    }),
  },
  { $id: 'CreatedToken', description: 'The token was created.' },
)
export type CreatedToken = Static<typeof CreatedToken>

export const TokenPage = page(Token, { $id: 'TokenPage' })
