import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { assertPatched } from '../../../stores/data/driver.ts'

t.test('a driver without the patch is refused with an instruction', async (t) => {
  t.doesNotThrow(() => assertPatched())
  const unpatched = join(t.testdir(), 'connection.js')
  writeFileSync(unpatched, 'function Connection() {}')
  t.throws(() => assertPatched(pathToFileURL(unpatched)), {
    message: /postgres is not patched.*npx patch-package.*--ignore-scripts/,
  })
})
