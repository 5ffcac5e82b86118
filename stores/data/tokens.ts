import type { TokenRow, TokenStore } from './interfaces/tokens.ts'
import { afterKeyset, toPage } from './keyset.ts'
import type { Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

const columns = 'id, name, scopes, created_at, created_by, revoked_at'

export function createTokens(sql: Sql): StoreCalls<TokenStore> {
  return {
    insert: once(async ({ id, name, hash, scopes, createdBy }) => {
      const [row] = await sql<TokenRow[]>`
        insert into tokens (id, name, hash, scopes, created_by)
        values (${id}, ${name}, ${hash}, ${scopes}, ${createdBy}) returning ${sql.unsafe(columns)}`
      return row!
    }),

    findByHash: repeatable(async (hash) => {
      const [row] = await sql<TokenRow[]>`
        select ${sql.unsafe(columns)} from tokens where hash = ${hash} and revoked_at is null`
      return row
    }),

    find: repeatable(async (id) => {
      const [row] = await sql<TokenRow[]>`select ${sql.unsafe(columns)} from tokens where id = ${id}`
      return row
    }),

    page: repeatable(async (request) => {
      const rows = await sql<TokenRow[]>`
        select ${sql.unsafe(columns)} from tokens where ${afterKeyset(sql, 'created_at', request)}
        order by created_at desc, id desc limit ${request.limit + 1}`
      return toPage(rows, request, (row) => row.createdAt)
    }),

    replaceHash: once(async (id, hash) => {
      const rows = await sql`
        update tokens set hash = ${hash} where id = ${id} and revoked_at is null returning id`
      return rows.length > 0
    }),

    revoke: repeatable(async (id) => {
      const rows = await sql`
        update tokens set revoked_at = coalesce(revoked_at, now()) where id = ${id} returning id`
      return rows.length > 0
    }),
  }
}
