import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError } from '../../config.ts'
import { protectDataDir } from '../../process/data-dir.ts'
import { newFolder } from '../helpers/folder.ts'

const umask = process.umask()
t.teardown(() => process.umask(umask))
const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8)

t.test('new files and folders are accessible to their owner only', async (t) => {
  const dataDir = newFolder(t)
  await protectDataDir(dataDir)
  mkdirSync(join(dataDir, 'folder'))
  writeFileSync(join(dataDir, 'file'), '')
  t.equal(modeOf(join(dataDir, 'folder')), '700')
  t.equal(modeOf(join(dataDir, 'file')), '600')
})

t.test('corrects the modes of an existing token, database and object folder', async (t) => {
  const dataDir = t.testdir({ 'access-token': 'token', db: {}, objects: {}, other: 'file' })
  for (const [path, mode] of Object.entries({
    'access-token': 0o666,
    db: 0o777,
    objects: 0o755,
    other: 0o644,
  }))
    chmodSync(join(dataDir, path), mode)
  await protectDataDir(dataDir)
  t.equal(modeOf(join(dataDir, 'access-token')), '600')
  t.equal(modeOf(join(dataDir, 'db')), '700')
  t.equal(modeOf(join(dataDir, 'objects')), '700')
  t.equal(modeOf(join(dataDir, 'other')), '644', 'does not change files of others')
})

t.test('refuses a DATA_DIR that every user can write to', async (t) => {
  const dataDir = newFolder(t)
  chmodSync(dataDir, 0o777)
  await t.rejects(protectDataDir(dataDir), { constructor: ConfigError, message: `Run: chmod o-w ${dataDir}` })
  chmodSync(dataDir, 0o1777)
  await t.resolves(protectDataDir(dataDir), 'in a folder like /tmp, others cannot replace files')
})

t.test('accepts a DATA_DIR that does not exist yet', async (t) => {
  await t.resolves(protectDataDir(join(newFolder(t), 'none')))
})
