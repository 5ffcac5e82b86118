import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { connect } from '../../../stores/data/connect.ts'
import { newFolder } from '../../helpers/folder.ts'
import { startPostgres } from '../../helpers/postgres.ts'

// What else patches/postgres+3.4.9.patch puts right in the driver: see docs/dependencies.md.

const database = startPostgres(t)

t.test('statements on the connections of a pool', { skip: database.missing }, async (t) => {
  const databaseUrl = await database.createDatabase()
  const { sql, close } = await connect({ databaseUrl, dataDir: newFolder(t) }, { attach: false })
  t.teardown(close)
  await sql`create table lines (line text)`
  // Several times as many as the pool has connections.
  const many = Array.from({ length: 64 })
  // Open, they take statements at once.
  await Promise.all(many.map(() => sql`select pg_sleep(0.01)`))

  await t.test('a statement that waits for a lock delays no other', async (t) => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const { promise: locked, resolve: lock } = Promise.withResolvers<void>()
    const holder = sql.begin(async (sql) => {
      await sql`lock table lines`
      lock()
      await released
    })
    await locked
    const waiting = sql`insert into lines values ('waited')`.execute()
    // Sent on one connection, some would be behind it for as long as the lock is held.
    const others = await Promise.all(many.map(() => sql<{ one: number }[]>`select 1 as one`))
    t.strictSame(
      others.map(([row]) => row),
      many.map(() => ({ one: 1 })),
    )
    release()
    await Promise.all([holder, waiting])
    t.strictSame([...(await sql`select line from lines`)], [{ line: 'waited' }])
  })

  await t.test('a statement that fails after its first rows takes no rows from the next', async (t) => {
    await Promise.all(
      many.map(() => t.rejects(sql`select 1 / (3 - line) from generate_series(1, 5) as line`.execute())),
    )
    const rows = await Promise.all(many.map(() => sql<{ two: number }[]>`select 2 as two`))
    t.strictSame(
      rows.map((rows) => [...rows]),
      many.map(() => [{ two: 2 }]),
    )
  })

  await t.test('each of many transactions has a separate connection', async (t) => {
    const ids = await Promise.all(
      many.map(() =>
        sql.begin(async (sql) => {
          const id = () => sql<{ id: string }[]>`select pg_current_xact_id()::text as id`
          const [[first], [second]] = [await id(), await id()]
          t.equal(first?.id, second?.id)
          return first?.id
        }),
      ),
    )
    t.equal(new Set(ids).size, ids.length)
  })
})

// porsager/postgres#1207: the driver's handler of `drain` offers a connection without a current statement to the pool.
t.test(
  'a transaction keeps its connection if the socket drains between its statements',
  {
    skip: database.missing,
  },
  async (t) => {
    const sockets: Socket[] = []
    // The driver's types have neither option.
    const options: object = {
      max_pipeline: 0,
      socket: async ({ host, port }: { host: string[]; port: number[] }) => {
        const socket = createConnection(port[0]!, host[0]!)
        await once(socket, 'connect')
        sockets.push(socket)
        return socket
      },
    }
    const sql = postgres(await database.createDatabase(), { max: 1, ...options })
    t.teardown(() => sql.end())
    const id = (sql: postgres.ISql) =>
      sql<{ id: string }[]>`select pg_current_xact_id()::text as id`.then(([row]) => row!.id)
    let outside: Promise<string> | undefined
    const inside = await sql.begin(async (transaction) => {
      const first = await id(transaction)
      for (const socket of sockets) socket.emit('drain')
      outside = id(sql)
      t.equal(
        await Promise.race([outside, sleep(200, 'it waits')]),
        'it waits',
        'for the end of the transaction',
      )
      t.equal(await id(transaction), first)
      return first
    })
    t.ok(sockets.length > 0)
    t.not(await outside, inside, 'another statement is not part of the transaction')
  },
)
