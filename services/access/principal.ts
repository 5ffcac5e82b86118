import { createHash, randomBytes } from 'node:crypto'
import { type Scope, scopes } from '../../schemas/tokens.ts'
import type { TokenRow, TokenStore } from '../../stores/data/interfaces/tokens.ts'
import type { Cache } from '../cache.ts'
import { MissingScope } from '../errors.ts'
import { createTokenCheck } from './tokens.ts'

/** The admin who sent a request, and the scopes of that admin. */
export interface Principal {
  /** The name in the audit log: the token's name, or `root`. */
  name: string
  scopes: ReadonlySet<Scope>
  /** The id of a named token. Undefined for a token of the configuration. */
  tokenId?: string
  /** The session of the console, if the request has its cookie and no token. */
  session?: { id: string; expiresAt: Date }
}

export const ROOT: Principal = { name: 'root', scopes: new Set(scopes) }

const PREFIX = 'hasty_'
const BYTES = 32
const FORM = /^hasty_[A-Za-z0-9_-]{43}$/

/** Creates the secret of a named token: 256 bits. Its prefix lets scanners of source code find it. */
export const newSecret = () => PREFIX + randomBytes(BYTES).toString('base64url')

/** A slow hash is for passwords. Nobody can try all secrets of 256 bits. */
export const hashOf = (secret: string) => createHash('sha256').update(secret).digest('hex')

export const scopesOf = ({ scopes }: Pick<TokenRow, 'scopes'>) => scopes.split(' ') as Scope[]

/** Finds the principals of tokens. Undefined: the token is wrong. */
export interface Principals {
  ofToken(token: string): Promise<Principal | undefined>
  /** The principal of a named token. */
  ofHash(hash: string): Promise<Principal | undefined>
}

export function createPrincipals({
  rootTokens,
  tokens,
  cache,
}: {
  /** The tokens of the configuration. They also work while the database is not available. */
  rootTokens: readonly string[]
  tokens: TokenStore
  /** By the hash of the token. It is dropped after some seconds, so that a token that another process revokes ends. */
  cache: Cache<Principal>
}): Principals {
  const isRoot = createTokenCheck(rootTokens)

  async function ofHash(hash: string): Promise<Principal | undefined> {
    const known = cache.get(hash)
    if (known) return known
    const row = await tokens.findByHash(hash)
    if (!row) return undefined
    const principal = { name: row.name, scopes: new Set(scopesOf(row)), tokenId: row.id }
    cache.set(hash, principal)
    return principal
  }

  return {
    ofHash,
    async ofToken(token) {
      if (isRoot(token)) return ROOT
      return FORM.test(token) ? ofHash(hashOf(token)) : undefined
    },
  }
}

/** @throws {MissingScope} */
export function requireScopes({ scopes }: Principal, needed: readonly Scope[]): void {
  const missing = needed.filter((scope) => !scopes.has(scope))
  if (missing.length === 0) return
  const names = missing.join(' and ')
  throw new MissingScope({
    detail: `This call needs the scope ${names}, which the token does not have. Send another token, or create one with this scope.`,
  })
}
