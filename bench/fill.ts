import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { newId } from '../services/ids.ts'
import { openDataStore } from '../stores/data/index.ts'
import { createFileStore } from '../stores/objects/file/index.ts'
import type { Scope } from './harness.ts'
import { startPostgres, temporaryFolder } from './servers.ts'

/** Puts JPEGs into a file store and a PostgreSQL database, as if they had been uploaded and verified. */
export async function fill(scope: Scope, jpegs: Buffer[]) {
  const createDatabase = await startPostgres(scope)
  const databaseUrl = await createDatabase()
  const folder = temporaryFolder(scope)
  const store = await createFileStore(pathToFileURL(folder))
  const { path } = store
  const data = await openDataStore({ databaseUrl, dataDir: folder }, { attach: false })
  await store.writeInstallation(await data.installation.create('bench'))
  const images = jpegs.map((jpeg) => {
    const id = newId()
    mkdirSync(dirname(path(id)), { recursive: true })
    writeFileSync(path(id), jpeg)
    const hash = createHash('sha256').update(jpeg).digest('hex')
    return { id, hash, size: jpeg.length, path: relative(folder, path(id)) }
  })
  await data.sql`
    insert into images (id, hash, size, status, shared, format, media_type)
    select id, hash, size, 'ready', false, 'JPEG', 'image/jpeg'
    from unnest(
      ${images.map(({ id }) => id)}::text[], ${images.map(({ hash }) => hash)}::text[],
      ${images.map(({ size }) => size)}::bigint[]
    ) as t (id, hash, size)`
  await data.close()
  const env = { DATABASE_URL: databaseUrl, OBJECT_STORE_URL: pathToFileURL(folder).href }
  return { images, env, folder }
}
