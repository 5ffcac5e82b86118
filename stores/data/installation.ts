import type { InstallationStore } from './interfaces/installation.ts'
import type { Database } from './sql.ts'
import { repeatable, type StoreCalls } from './store-call.ts'

export function createInstallation(sql: Database): StoreCalls<InstallationStore> {
  const read = async () => {
    const [row] = await sql<{ id: string }[]>`select id from installation`
    return row?.id
  }
  return {
    read: repeatable(read),

    create: repeatable(async (id) => {
      await sql`insert into installation (id) values (${id}) on conflict do nothing`
      return (await read())!
    }),
  }
}
