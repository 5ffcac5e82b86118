import postgres from 'postgres'
import type { DataStore } from '../../../stores/data/data-store.ts'
import { eachDatabase } from '../../helpers/databases.ts'
import { atOnce, openContext } from './contract/context.ts'
import { testCounts } from './contract/counts.ts'
import { testImages } from './contract/images.ts'
import { testLinks } from './contract/links.ts'
import { testImageLeases } from './contract/queue.ts'
import { testLimits, testUploads } from './contract/uploads.ts'

eachDatabase(
  async (t, env) => {
    if (env.DATABASE_URL) await setUnusually(env.DATABASE_URL)
    const context = await openContext(t, env)
    await rememberCameras(context.store)
    t.beforeEach(() => context.sql`truncate links, images, uploads, upload_counts, removed_cameras`)

    t.test('concurrent processes create one installation id', async (t) => {
      const { installation } = context
      t.equal(await installation.read(), undefined)
      const created = await atOnce(8, (n) => installation.create(`id ${n}`))
      t.equal(new Set(created).size, 1)
      t.equal(await installation.read(), created[0])
      t.equal(await installation.create('another'), created[0])
    })
    t.test('links', async (t) => testLinks(t, context))
    t.test('uploads', async (t) => testUploads(t, context))
    t.test('limits of links', async (t) => testLimits(t, context))
    t.test('images', async (t) => testImages(t, context))
    t.test('the authoritative queue', async (t) => testImageLeases(t, context))
    t.test('counts', async (t) => testCounts(t, context))
  },
  { serializable: true },
)

/** Keeps the camera models of removed images for `countDrift`: removal erases them from `images`. */
async function rememberCameras({ sql }: DataStore) {
  await sql`create table removed_cameras (image_id text primary key, camera_model text, status text)`
  await sql.unsafe(`
    create function remember_camera() returns trigger language plpgsql as $$ begin
      insert into removed_cameras values (old.id, old.camera_model, old.status) on conflict do nothing;
      return new;
    end $$`)
  await sql.unsafe(`
    create trigger remember_camera before update on images for each row
    when (old.removed_at is null and new.removed_at is not null) execute function remember_camera()`)
}

/** A server may be set up for another part of the world; nothing is to depend on it. */
async function setUnusually(url: string) {
  const sql = postgres(url, { max: 1 })
  const database = sql(new URL(url).pathname.slice(1))
  await sql`alter database ${database} set timezone = 'Pacific/Kiritimati'`
  await sql`alter database ${database} set datestyle = 'German'`
  await sql.end()
}
