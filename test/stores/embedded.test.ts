import postgres from 'postgres'
import t from 'tap'
import { openEmbedded } from '../../stores/data/embedded.ts'
import { migrate } from '../../stores/data/migrate.ts'

t.test('a folder is open once, and its rows are there when it is opened again', async (t) => {
  const folder = t.testdir()
  const first = await openEmbedded(folder, { attach: false })
  const sql = postgres({ path: first.path, user: 'postgres', database: 'postgres', onnotice: () => {} })
  t.strictSame(await Promise.all([migrate(sql), migrate(sql)]).then((applied) => applied.flat().length), 1)
  await sql`insert into links (id, expires_at) values ('kept', now())`

  await t.rejects(openEmbedded(folder, { attach: false }), {
    name: 'DataDirInUse',
    message: /is in use by another/,
  })
  const attached = await openEmbedded(folder, { attach: true })
  const other = postgres({ path: attached.path, user: 'postgres', database: 'postgres', onnotice: () => {} })
  t.strictSame([...(await other`select id from links`)], [{ id: 'kept' }])
  await other.end()
  await attached.close()
  await sql.end()
  await first.close()

  const again = await openEmbedded(folder, { attach: false })
  const reopened = postgres({ path: again.path, user: 'postgres', database: 'postgres', onnotice: () => {} })
  t.strictSame(await migrate(reopened), [])
  t.strictSame([...(await reopened`select id from links`)], [{ id: 'kept' }])
  await reopened.end()
  await again.close()
})
