import type { PageOf, PageRequest } from '../keyset.ts'
import type { OldRows } from './lifecycle.ts'

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

/** A row of `audit`: what an admin did. */
export interface AuditRow {
  id: string
  at: Date
  actor: string
  tokenId: string | null
  action: string
  target: string | null
  detail: string | null
  address: string
  /** The HTTP status of the response. */
  status: number
}

/** Filters of the audit log. `from` is included, `to` is not. */
export interface AuditSearch {
  from?: Date | undefined
  to?: Date | undefined
  actor?: string | undefined
  action?: string | undefined
}

export interface AuditStore {
  add(entry: Omit<AuditRow, 'id' | 'at'>): Promise<void>

  /** Entries that match a filter, newest first. */
  page(request: PageRequest & { filter?: AuditSearch }): Promise<PageOf<AuditRow>>

  /** Deletes up to `limit` entries that are older than `milliseconds`. Resolves with their number. */
  forget(request: OldRows): Promise<number>

  /** How many entries `forget` would delete. */
  countOld(request: OldRows): Promise<number>
}
