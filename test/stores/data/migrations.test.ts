import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'

const FOLDER = new URL('../../../migrations/', import.meta.url)
/** It replaced an index before the first release, so no released version depends on that index. */
const BEFORE_THE_FIRST_RELEASE = '004.do.shared-content.sql'

t.test('a migration only adds, so that processes of the previous version continue', async (t) => {
  // Without a check constraint, more is allowed than before.
  const removes =
    /^\s*(drop|truncate|delete|alter table .*\b(drop (?!constraint)|rename|set not null|type)\b)/im
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.sql'))
  t.ok(files.length >= 10)
  const removing = files.filter((name) => removes.test(readFileSync(new URL(name, FOLDER), 'utf8')))
  t.strictSame(removing, [BEFORE_THE_FIRST_RELEASE])
})
