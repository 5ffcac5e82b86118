import { once } from 'node:events'
import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect } from '../../stores/data/connect.ts'
import { openEmbedded } from '../../stores/data/embedded.ts'
import { migrate } from '../../stores/data/migrate.ts'

t.test('a folder is open once, and its rows are there when it is opened again', async (t) => {
  const config = { dataDir: t.testdir(), databaseUrl: undefined }
  const first = await connect(config, { attach: false })
  const applied = await Promise.all([migrate(first.sql), migrate(first.sql)])
  t.strictSame(applied.flat(), ['1 images'])
  await first.sql`insert into links (id, expires_at) values ('kept', now())`

  await t.rejects(connect(config, { attach: false }), {
    name: 'DataDirInUse',
    message: /is in use by another/,
  })
  const attached = await connect(config, { attach: true })
  t.strictSame([...(await attached.sql`select id from links`)], [{ id: 'kept' }])
  await attached.close()
  await first.close()

  const again = await connect(config, { attach: false })
  t.strictSame(await migrate(again.sql), [])
  t.strictSame([...(await again.sql`select id from links`)], [{ id: 'kept' }])
  await again.close()
})

t.test('connections that speak at once get each its own answers', async (t) => {
  const config = { dataDir: t.testdir(), databaseUrl: undefined }
  const first = await connect(config, { attach: false })
  t.teardown(() => first.close())
  const second = await connect(config, { attach: true })
  t.teardown(() => second.close())
  const answers = await Promise.all(
    Array.from({ length: 400 }, async (_, i) => {
      const { sql } = i % 2 ? first : second
      // A statement that fails leaves the session deaf until it is told to go on: for the others, too, if mixed up.
      if (i % 10 === 0) return sql`select ${i}::int / 0`.catch((error) => error.code)
      if (i % 10 === 1) return sql.begin(async (sql) => (await sql`select ${i}::int as i`)[0]!.i)
      return (await sql`select ${i}::int as i`)[0]!.i
    }),
  )
  t.strictSame(
    answers,
    answers.map((_, i) => (i % 10 === 0 ? '22012' : i)),
  )
})

t.test('a connection that is cut in the middle of a statement holds nobody up', async (t) => {
  const config = { dataDir: t.testdir(), databaseUrl: undefined }
  const { sql, close } = await connect(config, { attach: false })
  t.teardown(close)
  const attached = await openEmbedded(config.dataDir, { attach: true })
  t.teardown(() => attached.close())

  const message = (type: string, body: string) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(4 + Buffer.byteLength(body))
    return Buffer.concat([Buffer.from(type), length, Buffer.from(body)])
  }
  const startup = message('', '\0\x03\0\0user\0postgres\0database\0postgres\0\0')
  const parse = message('P', '\0insert into links (id, expires_at) values (1 / 0, now())\0\0\0')
  const bind = message('B', '\0\0\0\0\0\0\0\0')
  const begin = message('Q', 'begin\0')
  for (const sent of [
    [],
    [parse],
    [parse, bind],
    [begin],
    [begin, parse],
    [message('P', '\0nonsense\0\0\0')],
  ]) {
    for (const milliseconds of [0, 1, 20]) {
      const socket = createConnection(attached.path)
      await once(socket, 'connect')
      socket.write(Buffer.concat([startup, ...sent]))
      await sleep(milliseconds)
      const answer = sql`select 1 as one`
      socket.destroy()
      t.strictSame([...(await answer)], [{ one: 1 }], `${sent.length} messages, cut after ${milliseconds} ms`)
    }
  }
})
