import type { PageOf, PageRequest } from '../keyset.ts'
import type { OldRows } from './lifecycle.ts'

/** A row of `audit`: an action of an admin. */
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
