import t from 'tap'
import { openDataStore } from '../../../stores/data/index.ts'
import { build } from '../../helpers/app.ts'
import { forward } from '../../helpers/clock.ts'
import { dataDirWithDatabase } from '../../helpers/embedded.ts'
import { newFolder } from '../../helpers/folder.ts'

t.test('/readyz gives the reason if the database is read-only', async (t) => {
  const app = await build(t, { DATA_DIR: newFolder(t) })
  t.equal((await app.inject('/readyz')).statusCode, 200)
  await app.stores.data.sql`alter database postgres set default_transaction_read_only = on`
  await app.stores.data.sql`set default_transaction_read_only = on`
  forward(t, 1_000) // the probe's result is used again for a second
  const answer = await app.inject('/readyz')
  t.equal(answer.statusCode, 503)
  t.equal(answer.json().detail, 'The database is read-only.')
})

t.test('a process does not start on the schema of a newer version', async (t) => {
  const config = { dataDir: await dataDirWithDatabase(t), databaseUrl: undefined }
  const data = await openDataStore(config, { attach: false })
  await data.sql`insert into schemaversion (version, name) values (999, 'newer')`
  await data.close()
  await t.rejects(openDataStore(config, { attach: false }), {
    name: 'NewerSchema',
    message:
      /schema version 999, but this version of Hasty knows only versions up to \d+\. Start the version of Hasty that/,
  })
})
