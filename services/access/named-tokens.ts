import type { CreatedToken, NewToken, Token } from '../../schemas/tokens.ts'
import type { DataStore } from '../../stores/data/data-store.ts'
import type { TokenRow } from '../../stores/data/interfaces/tokens.ts'
import type { Cache } from '../cache.ts'
import { fromPage, type PageQuery, toPageRequest } from '../cursor.ts'
import { TokenNotFound, TokenRevoked } from '../errors.ts'
import { isId, newId } from '../ids.ts'
import { hashOf, newSecret, type Principal, requireScopes, scopesOf } from './principal.ts'

export type NamedTokens = ReturnType<typeof createNamedTokens>

/** Named access tokens. Nobody can give a token more scopes than its own. */
export function createNamedTokens({ tokens }: Pick<DataStore, 'tokens'>, cache: Cache<Principal>) {
  async function find(id: string) {
    const row = isId(id) ? await tokens.find(id) : undefined
    if (!row) throw new TokenNotFound()
    return row
  }

  return {
    /** @throws {MissingScope} the principal lacks one of the scopes */
    async create({ name, scopes }: NewToken, principal: Principal): Promise<CreatedToken> {
      requireScopes(principal, scopes)
      const token = newSecret()
      const row = await tokens.insert({
        id: newId(),
        name,
        hash: hashOf(token),
        scopes: scopes.join(' '),
        createdBy: principal.name,
      })
      return { ...showToken(row), token }
    },

    /** Newest first. @throws {InvalidCursor} */
    async list(query: PageQuery) {
      return fromPage(await tokens.page(toPageRequest(query)), showToken)
    },

    /**
     * Gives a token a new secret. The old one ends at once, in other processes within 5 s.
     *
     * @throws {TokenNotFound | TokenRevoked}
     * @throws {MissingScope} the principal lacks one of the token's scopes
     */
    async rotate(id: string, principal: Principal): Promise<CreatedToken> {
      const row = await find(id)
      requireScopes(principal, scopesOf(row))
      const token = newSecret()
      if (!(await tokens.replaceHash(id, hashOf(token)))) throw new TokenRevoked()
      cache.clear()
      return { ...showToken(row), token }
    },

    /** Revokes a token permanently. A second call changes nothing. @throws {TokenNotFound} */
    async revoke(id: string) {
      await find(id)
      await tokens.revoke(id)
      cache.clear()
    },
  }
}

const showToken = ({ id, name, createdAt, createdBy, revokedAt, ...row }: TokenRow): Token => ({
  id,
  name,
  scopes: scopesOf(row),
  createdAt: createdAt.toISOString(),
  createdBy,
  ...(revokedAt && { revokedAt: revokedAt.toISOString() }),
})
