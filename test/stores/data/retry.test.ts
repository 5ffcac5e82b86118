import { connect } from '../../../stores/data/connect.ts'
import { retry } from '../../../stores/data/retry.ts'
import { eachDatabase } from '../../helpers/databases.ts'
import { dataDirWithDatabase } from '../../helpers/embedded.ts'
import { inTier } from '../../helpers/tiers.ts'

const failingWith = (code: string) => Object.assign(new Error(`SQLSTATE ${code}`), { code })

eachDatabase(
  async (t, env) => {
    const { sql, close } = await connect(
      { dataDir: await dataDirWithDatabase(t), databaseUrl: env.DATABASE_URL },
      { attach: false },
    )
    t.teardown(close)
    await sql`create table tries (code text, number integer)`
    await sql`create table counters (id integer primary key, value integer not null)`

    for (const code of ['40001', '40P01']) {
      t.test(
        `a transaction that fails with ${code} runs again, and its first run leaves nothing`,
        async (t) => {
          let tried = 0
          const result = await retry(() =>
            sql.begin(async (sql) => {
              await sql`insert into tries values (${code}, ${++tried})`
              if (tried < 4) {
                await sql.unsafe(`do $$ begin raise 'refused' using errcode = '${code}'; end $$`)
              }
              return 'done'
            }),
          )
          t.equal(result, 'done')
          t.strictSame([...(await sql`select number from tries where code = ${code}`)], [{ number: 4 }])
        },
      )
    }

    t.test('every other error is thrown at once, and nothing is written', async (t) => {
      let tried = 0
      const work = () =>
        sql.begin(async (sql) => {
          await sql`insert into tries values ('other', ${++tried})`
          await sql`select 1 / ${0}::integer`
        })
      await t.rejects(retry(work), { code: '22012' })
      t.equal(tried, 1)
      t.strictSame([...(await sql`select * from tries where code = 'other'`)], [])
    })

    t.test('transactions that read before they write lose nothing', async (t) => {
      await sql`insert into counters values (1, 0)`
      const add = () =>
        retry(() =>
          sql.begin('isolation level serializable', async (sql) => {
            const [counter] = await sql<{ value: number }[]>`select value from counters where id = 1`
            await sql`update counters set value = ${counter!.value + 1} where id = 1`
          }),
        )
      await Promise.all(Array.from({ length: 20 }, add))
      t.strictSame([...(await sql`select value from counters where id = 1`)], [{ value: 20 }])
    })

    // The embedded database runs one transaction at a time.
    if (!env.DATABASE_URL) return
    t.test('two transactions in a deadlock both succeed', async (t) => {
      await sql`alter system set deadlock_timeout = '50ms'`
      await sql`select pg_reload_conf()`
      await sql`insert into counters values (2, 0), (3, 0)`
      let tried = 0
      const bothHaveOne = Promise.withResolvers<void>()
      const add = (first: number, second: number) =>
        retry(() =>
          sql.begin(async (sql) => {
            await sql`update counters set value = value + 1 where id = ${first}`
            if (++tried === 2) bothHaveOne.resolve()
            await bothHaveOne.promise
            await sql`update counters set value = value + 1 where id = ${second}`
          }),
        )
      await Promise.all([add(2, 3), add(3, 2)])
      t.ok(tried > 2, 'there was a deadlock')
      const values = await sql`select value from counters where id in (2, 3)`
      t.strictSame([...values], [{ value: 2 }, { value: 2 }])
    })
  },
  { serializable: true },
)

inTier.default('it gives up after 20 tries', async (t) => {
  const { random } = Math
  t.teardown(() => Object.assign(Math, { random }))
  Math.random = () => 0 // no pauses
  let tried = 0
  const work = async () => {
    tried++
    throw failingWith('40001')
  }
  await t.rejects(retry(work), { code: '40001' })
  t.equal(tried, 20)
})

inTier.default('it pauses between the tries', async (t) => {
  let tried = 0
  const start = performance.now()
  await retry(async () => {
    if (++tried < 9) throw failingWith('40P01')
  })
  // Eight pauses of up to 8, 16, …, 500 ms: that all of them are short has a chance of less than one in a million.
  t.ok(performance.now() - start > 20)
})

inTier.default('an unavailable database', async (t) => {
  /** Fails with each of the codes, in their order, and then succeeds. */
  function failingThen(...codes: string[]) {
    const tries = { count: 0 }
    const work = async () => {
      const code = codes[tries.count++]
      if (code) throw failingWith(code)
      return 'done'
    }
    return { tries, work }
  }

  t.test('a call without an effect is retried', async (t) => {
    const codes = ['ECONNREFUSED', 'ENOENT', 'CONNECT_TIMEOUT', '57P03', '53300', '40001']
    const { tries, work } = failingThen(...codes)
    t.equal(await retry(work), 'done')
    t.equal(tries.count, codes.length + 1)
  })

  const unknown = ['ECONNRESET', 'EPIPE', 'CONNECTION_CLOSED', '57P01', '57P02', '08006', '40003', '58C00']
  const refused = ['57014', '53100', '25006', '55P03']
  for (const code of [...unknown, ...refused]) {
    t.test(`${code} is StoreUnavailable, at once`, async (t) => {
      const { tries, work } = failingThen(code)
      await t.rejects(retry(work), { name: 'StoreUnavailable', message: /database/, cause: { code } })
      t.equal(tries.count, 1)
    })

    t.test(`${code}: a repeatable call is retried`, async (t) => {
      const { tries, work } = failingThen(code, code)
      t.equal(await retry(work, { repeatable: true }), 'done')
      t.equal(tries.count, 3)
    })
  }

  t.test('an error in a statement is not an outage', async (t) => {
    for (const code of ['23505', '42P01', '22012', 'UNDEFINED_VALUE']) {
      const { tries, work } = failingThen(code)
      await t.rejects(retry(work, { repeatable: true }), { code })
      t.equal(tries.count, 1)
    }
  })

  t.test('it gives up after two seconds', async (t) => {
    const start = performance.now()
    const work = async () => {
      throw failingWith('ECONNREFUSED')
    }
    await t.rejects(retry(work), { name: 'StoreUnavailable', cause: { code: 'ECONNREFUSED' } })
    const seconds = (performance.now() - start) / 1000
    t.ok(seconds > 1.9 && seconds < 4, `${seconds} s`)
  })
})
