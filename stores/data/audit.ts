import type { AuditRow, AuditStore } from './interfaces/audit.ts'
import { afterKeyset, toPage } from './keyset.ts'
import type { Sql } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

const columns = 'id, at, actor, token_id, action, target, detail, address, status'

export function createAudit(sql: Sql): StoreCalls<AuditStore> {
  return {
    add: once(async ({ actor, tokenId, action, target, detail, address, status }) => {
      await sql`
        insert into audit (actor, token_id, action, target, detail, address, status)
        values (${actor}, ${tokenId}, ${action}, ${target}, ${detail}, ${address}, ${status})`
    }),

    page: repeatable(async (request) => {
      const { from, to, actor, action } = request.filter ?? {}
      const rows = await sql<AuditRow[]>`
        select ${sql.unsafe(columns)} from audit
        where ${afterKeyset(sql, 'at', request)}
          ${from ? sql`and at >= ${from}` : sql``} ${to ? sql`and at < ${to}` : sql``}
          ${actor === undefined ? sql`` : sql`and actor = ${actor}`}
          ${action === undefined ? sql`` : sql`and action = ${action}`}
        order by at desc, id desc limit ${request.limit + 1}`
      return toPage(rows, request, (row) => row.at)
    }),

    forget: once(async ({ milliseconds, limit }) => {
      const rows = await sql`
        delete from audit where id in (
          select id from audit where at < now() - ${milliseconds}::float8 * interval '1 millisecond'
          order by at limit ${limit}
        ) returning id`
      return rows.length
    }),

    countOld: repeatable(async ({ milliseconds, limit }) => {
      const rows = await sql`
        select id from audit where at < now() - ${milliseconds}::float8 * interval '1 millisecond' limit ${limit}`
      return rows.length
    }),
  }
}
