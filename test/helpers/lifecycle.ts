import { createHash } from 'node:crypto'
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import type { Test } from 'tap'
import type { Config } from '../../config.ts'
import type { SweepSummary } from '../../schemas/sweeps.ts'
import { newId } from '../../services/ids.ts'
import { createLifecycle } from '../../services/lifecycle/index.ts'
import type { SweepOptions } from '../../services/lifecycle/sweep-context.ts'
import { newVariantKey } from '../../services/variants/keys.ts'
import type { Stores } from '../../stores/index.ts'
import { hasPaths, type ObjectStore } from '../../stores/objects/object-store.ts'
import { type App, build, makeLink } from './app.ts'
import { newFolder } from './folder.ts'
import { multipart } from './multipart.ts'

export const HOUR = 3_600_000
export const DAY = 24 * HOUR
/** A sweep also waits this long before it deletes. */
export const GRACE = 200

/** The service with a cold store, and a way to sweep it; `fresh` empties all of it for the next test. */
export async function buildWithSweep(t: Test, env: Record<string, string>) {
  const folder = newFolder(t)
  const places = { OBJECT_STORE_URL: `file://${folder}/objects`, COLD_STORE_URL: `file://${folder}/cold` }
  const app = await build(t, { ...places, ...env })
  return {
    async fresh() {
      await app.stores.data.sql`truncate images, uploads, upload_counts, links, sweeps, leases`
      for (const url of Object.values(places)) {
        for (const name of await readdir(new URL(url)))
          if (name !== 'hasty-installation') await rm(new URL(`${url}/${name}`), { recursive: true })
        await mkdir(new URL(`${url}/incoming`), { recursive: true })
      }
      return withSweep(app)
    },
  }
}

async function withSweep(app: App) {
  const { stores } = app
  const link = await makeLink(app)
  const log = createRecorder()

  return {
    app,
    stores,
    objects: stores.objects.at({ region: '', tier: 'hot' }),
    cold: stores.objects.at({ region: '', tier: 'cold' }),
    log,

    sweep: (
      config: Partial<Config> = {},
      options: Partial<SweepOptions> & { stores?: Stores; signal?: AbortSignal } = {},
    ): Promise<SweepSummary | undefined> =>
      createLifecycle({
        stores: options.stores ?? stores,
        log,
        config: { ...app.config, sweepGrace: GRACE, ...config },
      }).sweep({ signal: new AbortController().signal, ...options }),

    /** Sweeps repeatedly, like a worker. */
    sweepPeriodically: (signal: AbortSignal, every: number) =>
      createLifecycle({ stores, log, config: app.config }).sweepPeriodically(signal, every),

    /** Uploads an image. Resolves with its entry in the response. */
    async upload(body: Buffer): Promise<{ id: string; hash: string; status: string; duplicate: boolean }> {
      const answer = await app.inject({ method: 'POST', url: link, ...multipart([{ body }]) })
      if (answer.statusCode !== 200) throw new Error(answer.body)
      return answer.json().processed[0]
    },

    /** Has it be so long ago that somebody asked for the image, and that it was uploaded. */
    async age(id: string, milliseconds: number) {
      const at = new Date(Date.now() - milliseconds)
      // A request before is written now, and not after this time.
      await app.services.lastAccess.flush()
      await stores.data.sql`update images set last_accessed_at = ${at} where id = ${id}`
      await stores.data.sql`update uploads set received_at = ${at} where image_id = ${id}`
    },

    tierOf: async (id: string) => (await stores.data.images.find(id))?.tier,
  }
}

/** A log that keeps the lines of each level. */
function createRecorder() {
  const lines = { info: [] as object[], warn: [] as object[], error: [] as object[] }
  const record = (level: keyof typeof lines) => (context: object, message: string) => {
    lines[level].push({ ...context, message })
  }
  return { lines, info: record('info'), warn: record('warn'), error: record('error') }
}

export async function put(store: ObjectStore, key: string, bytes: Buffer) {
  await (await store.stage(key, Readable.from([bytes]))).commit()
}

export const keysOf = async (store: ObjectStore) =>
  (await Array.fromAsync(store.list())).map(({ key }) => key).sort()

/** Makes the file of an object older. */
export async function backdate(store: ObjectStore, key: string, milliseconds: number) {
  const at = new Date(Date.now() - milliseconds)
  await utimes(pathOf(store, key), at, at)
}

/** Writes an object that is old, and returns its key. */
export async function putOld(store: ObjectStore, key = newId()) {
  const path = pathOf(store, key)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, 'of no image')
  await backdate(store, key, HOUR)
  return key
}

export function pathOf(store: ObjectStore, key: string) {
  if (!hasPaths(store)) throw new Error('the test needs files')
  return store.path(key)
}

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** The contents of the tables of the database. */
export async function dump({ stores: { data } }: Pick<App, 'stores'>) {
  const tables = ['images', 'uploads', 'upload_counts', 'links', 'sweeps', 'leases']
  const rows = tables.map((table) => data.sql`select * from ${data.sql(table)} as t order by t::text`)
  return JSON.stringify(await Promise.all(rows))
}

/** Gives an image a variant whose object has these bytes. Resolves with the key of the object. */
export async function putVariant({ stores }: Pick<App, 'stores'>, id: string, bytes = Buffer.from('bytes')) {
  const { variants } = stores.data
  await variants.claim({ imageId: id, spec: 'a', lease: 'l', milliseconds: 60_000 })
  const objectKey = newVariantKey(id)
  await put(stores.objects.at({ region: '', tier: 'hot' }), objectKey, bytes)
  await variants.settle(id, 'a', 'l', { objectKey, size: bytes.length, hash: '', mediaType: 'image/jpeg' })
  return objectKey
}
