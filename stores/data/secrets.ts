import type { SecretStore } from './interfaces/secrets.ts'
import type { Sql } from './sql.ts'
import { repeatable, type StoreCalls } from './store-call.ts'

export function createSecrets(sql: Sql): StoreCalls<SecretStore> {
  return {
    // A second run reads what the first one has written.
    readOrCreate: repeatable(async (name, value) => {
      await sql`insert into secrets (name, value) values (${name}, ${value}) on conflict do nothing`
      const [row] = await sql<{ value: string }[]>`select value from secrets where name = ${name}`
      return row!.value
    }),
  }
}
