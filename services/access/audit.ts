import { Format } from 'typebox/format'
import type { AuditEntry, AuditFilter } from '../../schemas/audit.ts'
import type { DataStore } from '../../stores/data/data-store.ts'
import type { AuditRow } from '../../stores/data/interfaces/audit.ts'
import type { PageRequest } from '../../stores/data/keyset.ts'
import { fromPage, type PageQuery, toPageRequest } from '../cursor.ts'
import { InvalidRequest } from '../errors.ts'
import { toInstant } from '../instant.ts'
import type { Principal } from './principal.ts'

/** Entries are kept for a year. */
export const AUDIT_FOR_MS = 365 * 86_400_000

const EXPORT_PAGE = 500
const MAX_FIELDS = 30
const MAX_NAME = 40

/** What an admin did. */
export interface Action {
  principal: Principal
  /** The operationId, or the command. */
  action: string
  target?: string | undefined
  /** The filter of the call. */
  query?: object | undefined
  /** The body of the call. Only the names of its fields are recorded: a value may be a secret. */
  body?: unknown
  address: string
  status: number
}

export type Audit = ReturnType<typeof createAudit>

/** The log of the actions of admins. */
export function createAudit({ audit }: Pick<DataStore, 'audit'>) {
  return {
    record: ({ principal, action, target, query, body, address, status }: Action): Promise<void> =>
      audit.add({
        actor: principal.name,
        tokenId: principal.tokenId ?? null,
        action,
        target: target ?? null,
        detail: describe(query, body),
        address,
        status,
      }),

    /** Newest first. @throws {InvalidCursor | InvalidRequest} */
    async list({ limit, cursor, ...filter }: PageQuery & AuditFilter) {
      const request = { ...toPageRequest({ limit, cursor }, Format.IsUuid), filter: toSearch(filter) }
      return fromPage(await audit.page(request), showEntry)
    },

    /** All entries that match the filter, newest first, as lines of text. @throws {InvalidRequest} */
    export(filter: AuditFilter, format: 'ndjson' | 'csv'): AsyncGenerator<string> {
      const search = toSearch(filter)
      return format === 'csv' ? toCsv(entries(search)) : toLines(entries(search))
    },
  }

  async function* entries(filter: ReturnType<typeof toSearch>) {
    for (let request: PageRequest | undefined = { limit: EXPORT_PAGE }; request; ) {
      const { items, next } = await audit.page({ ...request, filter })
      yield* items.map(showEntry)
      request = next && { limit: EXPORT_PAGE, after: next }
    }
  }
}

function describe(query: object | undefined, body: unknown) {
  const names = typeof body === 'object' && body !== null ? Object.keys(body) : []
  // Unknown fields are refused, but the refusal is recorded too.
  const fields = names.slice(0, MAX_FIELDS).map((name) => name.slice(0, MAX_NAME))
  const detail = {
    ...(query && Object.keys(query).length > 0 && { query }),
    ...(fields.length > 0 && { fields }),
  }
  return Object.keys(detail).length === 0 ? null : JSON.stringify(detail)
}

function toSearch({ from, to, ...filter }: AuditFilter) {
  const instant = (name: string, text: string | undefined) => {
    const date = text === undefined ? undefined : toInstant(text)
    if (text !== undefined && !date)
      throw new InvalidRequest({
        detail: `${name} must be an RFC 3339 date and time. For example: 2026-11-01T00:00:00Z.`,
      })
    return date
  }
  return { ...filter, from: instant('from', from), to: instant('to', to) }
}

const showEntry = ({
  id,
  at,
  actor,
  tokenId,
  action,
  target,
  detail,
  address,
  status,
}: AuditRow): AuditEntry => ({
  id,
  at: at.toISOString(),
  actor,
  ...(tokenId !== null && { tokenId }),
  action,
  ...(target !== null && { target }),
  ...(detail !== null && { detail }),
  address,
  status,
})

async function* toLines(entries: AsyncIterable<AuditEntry>) {
  for await (const entry of entries) yield `${JSON.stringify(entry)}\n`
}

const COLUMNS = ['at', 'actor', 'tokenId', 'action', 'target', 'detail', 'address', 'status', 'id'] as const

async function* toCsv(entries: AsyncIterable<AuditEntry>) {
  yield `${COLUMNS.join(',')}\r\n`
  for await (const entry of entries)
    yield `${COLUMNS.map((name) => toField(String(entry[name] ?? ''))).join(',')}\r\n`
}

/** A field of a CSV file (RFC 4180 §2). A spreadsheet would run a value that begins like a formula. */
function toField(value: string) {
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
