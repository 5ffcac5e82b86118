import { createHash, randomUUID } from 'node:crypto'
import {
  constants,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { openDataStore } from '../../stores/data/index.ts'
import { newFolder } from './folder.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TEMPLATES = join(ROOT, 'node_modules/.cache/test-databases')

/** A folder for `DATA_DIR` that has an empty database with the current schema. It goes with the test. */
export async function dataDirWithDatabase(t: Test) {
  const dataDir = newFolder(t)
  await copyDatabase(dataDir)
  return dataDir
}

/** Copies an empty database with the current schema to `dataDir`, unless there is one. To create one takes seconds. */
export async function copyDatabase(dataDir: string) {
  const folder = join(dataDir, 'db')
  if (existsSync(folder)) return
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  cpSync(await findTemplate(), folder, { recursive: true, mode: constants.COPYFILE_FICLONE })
}

/** The template for the current code. It is kept between runs, and made again when the code that makes it changes. */
async function findTemplate() {
  const sources = globSync(['migrations/*', 'stores/data/embedded/*', 'package-lock.json'], {
    cwd: ROOT,
  }).sort()
  const hash = createHash('sha256')
  for (const source of sources) hash.update(source).update(readFileSync(join(ROOT, source)))
  const template = join(TEMPLATES, hash.digest('hex').slice(0, 16))
  if (!existsSync(template)) await makeTemplate(template)
  return template
}

async function makeTemplate(template: string) {
  const old = existsSync(TEMPLATES) ? readdirSync(TEMPLATES).filter((name) => !name.startsWith('new-')) : []
  const draft = join(TEMPLATES, `new-${randomUUID()}`)
  const store = await openDataStore({ dataDir: draft, databaseUrl: undefined }, { attach: false })
  await store.close()
  try {
    renameSync(join(draft, 'db'), template)
  } catch (error) {
    // Another process of this run was faster.
    if (!existsSync(template)) throw error
  }
  for (const name of [draft, ...old.map((name) => join(TEMPLATES, name))])
    rmSync(name, { recursive: true, force: true })
}
