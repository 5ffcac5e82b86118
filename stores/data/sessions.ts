import type { SessionRow, SessionStore } from './interfaces/sessions.ts'
import type { Database } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

export function createSessions(sql: Database): StoreCalls<SessionStore> {
  return {
    insert: once((session) =>
      sql.begin(async (sql) => {
        await sql`delete from sessions where expires_at <= now()`
        const { id, tokenHash, proof, milliseconds } = session
        const [row] = await sql<SessionRow[]>`
          insert into sessions (id, token_hash, proof, expires_at)
          values (
            ${id}, ${tokenHash}, ${proof}, now() + ${milliseconds}::double precision * interval '1 millisecond'
          )
          returning id, token_hash, proof, expires_at`
        return row!
      }),
    ),

    find: repeatable(async (id) => {
      const [row] = await sql<SessionRow[]>`
        select id, token_hash, proof, expires_at from sessions where id = ${id} and expires_at > now()`
      return row
    }),

    delete: repeatable(async (id) => {
      await sql`delete from sessions where id = ${id}`
    }),
  }
}
