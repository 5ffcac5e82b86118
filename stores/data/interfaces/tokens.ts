import type { PageOf, PageRequest } from '../keyset.ts'

/** A row of `tokens`, without the hash. */
export interface TokenRow {
  id: string
  name: string
  /** Separated by spaces. */
  scopes: string
  createdAt: Date
  createdBy: string
  revokedAt: Date | null
}

/** The named access tokens. A hash is the SHA-256 of the token in hex. */
export interface TokenStore {
  insert(token: Pick<TokenRow, 'id' | 'name' | 'scopes' | 'createdBy'> & { hash: string }): Promise<TokenRow>

  /** Finds a token that is not revoked. */
  findByHash(hash: string): Promise<TokenRow | undefined>

  find(id: string): Promise<TokenRow | undefined>

  /** All tokens, newest first. */
  page(request: PageRequest): Promise<PageOf<TokenRow>>

  /** Gives a token a new secret. False if there is none with this id, or it is revoked. */
  replaceHash(id: string, hash: string): Promise<boolean>

  /** Ends a token for ever. False if there is none with this id. A second call changes nothing. */
  revoke(id: string): Promise<boolean>
}
