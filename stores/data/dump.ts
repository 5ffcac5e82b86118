import type { DumpStore } from './interfaces/dump.ts'
import type { Database, Sql } from './sql.ts'

const ROWS = 500
/** Tables of the schema's version, of processes that run, and of minutes: a backup does not need them. */
const SKIPPED = ['schemaversion', 'leases', 'failed_lookups']
/** A restored database gets the id of the object stores that it is used with. */
const INSTALLATION = 'installation'

/** These calls are not retried: a backup that fails is started again by its caller. */
export function createDump(sql: Database): DumpStore {
  return {
    async *read() {
      // All statements of the transaction see the same state. It writes nothing, so nobody waits for it on a server.
      const connection = await sql.reserve()
      try {
        await connection`begin isolation level repeatable read read only`
        for (const table of await tablesOf(connection)) {
          const rows = connection<{ row: string }[]>`
            select row_to_json(dumped)::text as row from ${connection(table)} as dumped`
          for await (const some of rows.cursor(ROWS)) yield { table, rows: some.map(({ row }) => row) }
        }
        await connection`commit`
      } catch (error) {
        await connection`rollback`.catch(() => {})
        throw error
      } finally {
        connection.release()
      }
    },

    async isEmpty() {
      const [found] = await sql<{ rows: number }[]>`
        select (select count(*) from images) + (select count(*) from links) + (select count(*) from uploads) as rows`
      return Number(found!.rows) === 0
    },

    async write(dump) {
      await sql.begin(async (sql) => {
        const known = new Set(await tablesOf(sql))
        const emptied = new Set<string>()
        for await (const { table, rows } of dump) {
          if (!known.has(table) || table === INSTALLATION) continue
          if (!emptied.has(table)) await sql`delete from ${sql(table)}`
          emptied.add(table)
          await insert(sql, table, rows)
        }
      })
    },
  }
}

async function tablesOf(sql: Sql) {
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables
    where table_schema = current_schema() and table_type = 'BASE TABLE' order by table_name`
  return tables.map(({ name }) => name).filter((name) => !SKIPPED.includes(name))
}

/** Names the columns of the dump: columns that a later version has added get their defaults. */
async function insert(sql: Sql, table: string, rows: string[]) {
  const columns = Object.keys(JSON.parse(rows[0] ?? '{}'))
  if (columns.length === 0) return
  const list = columns.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ')
  await sql`
    insert into ${sql(table)} (${sql.unsafe(list)})
    select ${sql.unsafe(list)} from jsonb_populate_recordset(null::${sql(table)}, ${`[${rows.join(',')}]`}::text::jsonb)`
}
