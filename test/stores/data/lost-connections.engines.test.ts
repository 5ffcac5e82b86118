import { setImmediate as immediate } from 'node:timers/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { startLossyProxy } from '../../helpers/lossy-proxy.ts'
import { startPostgres } from '../../helpers/postgres.ts'

// What patches/postgres+3.4.9.patch puts right in the driver, each as it fails without: see docs/dependencies.md.

const PATIENCE_MS = 2_000

/** A connection that is reset is closed one turn of the event loop after its error. */
async function nextTurn() {
  await immediate()
  await immediate()
}

/** What the promise comes to; an error where that takes too long. */
async function soon<T>(promise: PromiseLike<T>): Promise<T> {
  const impatience = Promise.withResolvers<never>()
  const timer = setTimeout(() => impatience.reject(new Error(`not within ${PATIENCE_MS} ms`)), PATIENCE_MS)
  return Promise.race([promise, impatience.promise]).finally(() => clearTimeout(timer))
}

const database = startPostgres(t)

t.test('lost connections', { skip: database.missing }, async (t) => {
  const url = await database.createDatabase()
  const direct = postgres(url, { max: 1 })
  t.teardown(() => direct.end({ timeout: 0 }))
  await direct`create table lines (line text)`
  const lines = async () => (await direct`select line from lines order by line`).map(({ line }) => line)
  t.afterEach(async () => {
    // A process of the server does not notice that its client has gone while it sleeps.
    await direct`
      select pg_terminate_backend(pid, 5000) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`
    await direct`truncate lines`
  })

  /** The driver with one connection, so that what comes next uses the one that was lost. */
  async function open(t: Test) {
    const proxy = await startLossyProxy(t, url)
    const sql = postgres(proxy.url, { max: 1, connect_timeout: 10, backoff: () => 0, fetch_types: false })
    t.teardown(() => sql.end({ timeout: 0 }))
    await sql`select 1`
    return { proxy, sql }
  }

  /** Resolves when the database is at work for the driver, with the process that is. */
  async function untilBusy(): Promise<number> {
    for (;;) {
      const [busy] = await direct<{ pid: number }[]>`
        select pid from pg_stat_activity
        where state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()`
      if (busy) return busy.pid
    }
  }

  const lost = { code: /^(CONNECTION_CLOSED|ECONNRESET)$/ }

  for (const how of ['FIN', 'RST'] as const) {
    t.test(`${how} while a statement runs`, async (t) => {
      const { proxy, sql } = await open(t)
      const running = sql`select pg_sleep(30)`.execute()
      await untilBusy()
      proxy.lose(how)
      await t.rejects(soon(running), lost)
      await nextTurn()
      for (let i = 0; i < 3; i++) t.equal((await soon(sql`select 1 as one`))[0]!.one, 1)
    })

    t.test(`${how} while a statement of a transaction runs`, async (t) => {
      const { proxy, sql } = await open(t)
      const transaction = sql.begin(async (sql) => {
        await sql`insert into lines values ('lost')`
        await sql`select pg_sleep(30)`
      })
      const failing = t.rejects(soon(transaction), lost)
      await untilBusy()
      proxy.lose(how)
      await failing
      for (let i = 0; i < 3; i++) {
        await soon(sql.begin((sql) => sql`insert into lines values (${`kept ${i}`})`))
      }
      t.strictSame(await lines(), ['kept 0', 'kept 1', 'kept 2'])
    })

    t.test(`${how} while a statement is about to be sent`, async (t) => {
      const { proxy, sql } = await open(t)
      // Both in the same turn of the event loop, over and over: some meet.
      for (let i = 0; i < 100; i++) {
        proxy.lose(how)
        for (let turns = i % 10; turns > 0; turns--) await immediate()
        await soon(sql`select 1`.catch(() => {}))
      }
      t.equal((await soon(sql`select 1 as one`))[0]!.one, 1)
    })

    t.test(
      `${how} between two statements of a transaction: no other transaction gets the second`,
      async (t) => {
        const { proxy, sql } = await open(t)
        const inside = Promise.withResolvers<void>()
        const goOn = Promise.withResolvers<void>()
        const late = Promise.withResolvers<unknown>()
        const losing = sql.begin(async (sql) => {
          await sql`insert into lines values ('lost 1')`
          inside.resolve()
          await goOn.promise
          await sql`insert into lines values ('lost 2')`.catch(late.resolve)
        })
        const failing = t.rejects(soon(losing), lost)
        await inside.promise
        const other = sql.begin(async (sql) => {
          await sql`insert into lines values ('kept 1')`
          goOn.resolve()
          await soon(late.promise)
          await sql`insert into lines values ('kept 2')`
        })
        proxy.lose(how)
        await failing
        await soon(other)
        t.match(await late.promise, { code: 'CONNECTION_CLOSED' })
        t.strictSame(await lines(), ['kept 1', 'kept 2'])
      },
    )
  }

  t.test('a response that is cut leaves no rows in the next one', async (t) => {
    const { proxy, sql } = await open(t)
    // PostgreSQL sends what it has whenever that is 8 KiB.
    const cut = sql`
      select repeat('x', 10000), pg_sleep(case when n > 3 then 30 else 0 end) from generate_series(1, 9) as n`
    const running = cut.execute()
    await untilBusy()
    proxy.lose('FIN')
    await t.rejects(soon(running))
    t.strictSame([...(await soon(sql`select 1 as one`))], [{ one: 1 }])
  })

  t.test('the last error of the server is not reported for the next statement', async (t) => {
    const { sql } = await open(t)
    const running = sql`select pg_sleep(30)`.execute()
    await direct`select pg_terminate_backend(${await untilBusy()})`
    await t.rejects(soon(running))
    t.equal((await soon(sql`select 1 as one`))[0]!.one, 1)
  })

  t.test('a connection that ends during its start is an error, and is not retried for ever', async (t) => {
    const { proxy, sql } = await open(t)
    proxy.refuse(true)
    proxy.lose('FIN')
    await soon(sql`select 1`.catch(() => {}))
    await t.rejects(soon(sql`select 1`), { code: 'CONNECTION_CLOSED' })
    proxy.refuse(false)
    t.equal((await soon(sql`select 1 as one`))[0]!.one, 1)
  })
})
