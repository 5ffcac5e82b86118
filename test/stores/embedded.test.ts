import t from 'tap'
import { connect } from '../../stores/data/connect.ts'
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
