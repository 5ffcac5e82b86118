import t from 'tap'
import { openDataStore } from '../../../stores/data/index.ts'
import { build } from '../../helpers/app.ts'
import { forward } from '../../helpers/clock.ts'
import { dataDirWithLentDatabase } from '../../helpers/embedded.ts'

t.test('/readyz gives the reason if the database is read-only', async (t) => {
  const app = await build(t)
  const { sql } = app.stores.data
  t.equal((await app.inject('/readyz')).statusCode, 200)
  await sql`set default_transaction_read_only = on`
  t.teardown(() => sql`set default_transaction_read_only = off`)
  forward(t, 1_000) // the probe's result is used again for a second
  const answer = await app.inject('/readyz')
  t.equal(answer.statusCode, 503)
  t.equal(answer.json().detail, 'The database is read-only.')
})

t.test('a process does not start on the schema of a newer version', async (t) => {
  const config = { dataDir: await dataDirWithLentDatabase(t), databaseUrl: undefined }
  const { sql, close } = await openDataStore(config, { attach: true })
  t.teardown(async () => {
    await sql`delete from schemaversion where version = 999`
    await close()
  })
  await sql`insert into schemaversion (version, name) values (999, 'newer')`
  await t.rejects(openDataStore(config, { attach: true }), {
    name: 'NewerSchema',
    message:
      /schema version 999, but this version of Hasty knows only versions up to \d+\. Start the version of Hasty that/,
  })
})
