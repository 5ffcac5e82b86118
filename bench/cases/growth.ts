import { randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { openDataStore } from '../../stores/data/index.ts'
import type { Case, Round, Scope } from '../harness.ts'
import { makeJpeg } from '../images.ts'
import { upload } from '../load/index.ts'
import { admin, type Hasty, startHasty, startPostgres, temporaryFolder } from '../servers.ts'

const FEW = 1000
const MANY = 1_000_000

/** Calls that must not become slower with more rows: each on a database of 1,000,000 images and on one of 1,000. */
export const growth: Case[] = [
  {
    name: 'growth-statistics',
    title: 'statistics with 1,000,000 uploads, compared with 1,000',
    unit: 'ms',
    ratio: { atMost: 2 },
    figure: { atMost: 20 },
    prepare: (_scope, _effort, run) =>
      compare(run, async (hasty) => () => timeOf(() => `${hasty.url}/admin/stats`, 50)),
  },
  {
    name: 'growth-list',
    title: 'list with 1,000,000 images, compared with 1,000',
    unit: 'ms',
    ratio: { atMost: 1.2 },
    prepare: (_scope, _effort, run) =>
      compare(run, async (hasty) => () => timeOf(() => `${hasty.url}/admin/images`, 50)),
  },
  {
    name: 'growth-get',
    title: "GET of an image's metadata with 1,000,000 images, compared with 1,000",
    unit: 'ms',
    ratio: { atMost: 1.2 },
    prepare: (_scope, _effort, run) =>
      // Each request is for another image, so that no cache has it.
      compare(run, async (hasty, images) => () => {
        return timeOf(() => `${hasty.url}/admin/images/${idOf(1 + randomInt(images))}`, 200)
      }),
  },
  {
    name: 'growth-upload',
    title: 'upload with 1,000,000 images, compared with 1,000',
    unit: 'ms',
    ratio: { atMost: 1.2 },
    prepare: (scope, { seconds }, run) =>
      compare(run, async (hasty) => {
        const url = await hasty.makeLink()
        const file = join(temporaryFolder(scope), 'image.jpg')
        writeFileSync(file, await makeJpeg(20_000))
        const load = { url, file, size: 20_000, clients: 4, multipart: true, distinct: true }
        return async () => {
          const { uploads, seconds: passed } = await upload({ ...load, seconds })
          return (passed * 1000) / uploads
        }
      }),
  },
]

async function compare(run: Scope, measurement: (hasty: Hasty, images: number) => Promise<Round>) {
  const [few, many] = await filled(run)
  return { baseline: await measurement(few, FEW), hasty: await measurement(many, MANY) }
}

const started = new WeakMap<Scope, Promise<[Hasty, Hasty]>>()

/** A service with few images and one with many. They are filled once in a run. */
function filled(run: Scope) {
  const start = async (): Promise<[Hasty, Hasty]> => {
    const createDatabase = await startPostgres(run)
    const startWith = async (images: number) => {
      const DATABASE_URL = await createDatabase()
      await fill(DATABASE_URL, images)
      return startHasty(run, { DATABASE_URL })
    }
    return [await startWith(FEW), await startWith(MANY)]
  }
  const services = started.get(run) ?? start()
  started.set(run, services)
  return services
}

/** The id of the nth image of a filled database. */
const idOf = (n: number) => String(n).padStart(48, 'I')

/** Fills an empty database with images, one upload of each, and their counts. */
async function fill(databaseUrl: string, images: number) {
  const { sql, close } = await openDataStore({ databaseUrl, dataDir: '' }, { attach: false })
  await sql`
    insert into links (id, expires_at) values (${'L'.repeat(48)}, now() + interval '1 day')`
  await sql`
    insert into images (id, hash, size, status, format, media_type, camera_model, received_at)
    select lpad(n::text, 48, 'I'), lpad(n::text, 64, '0'), 200000, 'ready', 'JPEG', 'image/jpeg',
      'Model ' || n % 500, now() - n * interval '2 seconds'
    from generate_series(1, ${images}::int) as n`
  await sql`
    insert into uploads (link_id, image_id, name, duplicate, received_at)
    select ${'L'.repeat(48)}, id, 'image.jpg', false, received_at from images`
  await sql`
    insert into upload_counts (kind, key, shard, uploads, bytes)
    select line.kind, line.key, n % 32, count(*), sum(size)
    from (select *, row_number() over () as n from images) as images, lateral (values
      ('day', (received_at at time zone 'UTC')::date::text), ('format', format),
      ('model', camera_model), ('link', ${'L'.repeat(48)})
    ) as line (kind, key)
    group by 1, 2, 3`
  await sql`vacuum analyze`
  await close()
}

/** The median time of several GETs, one after the other on one connection. */
async function timeOf(nextUrl: () => string, times: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const passed: number[] = []
  for (let n = 0; n < times; n++) {
    const url = nextUrl()
    const startedAt = performance.now()
    await new Promise<void>((resolve, reject) => {
      request(url, { agent, headers: admin }, async (answer) => {
        await buffer(answer)
        if (answer.statusCode === 200) resolve()
        else reject(new Error(`${url} answered ${answer.statusCode}`))
      })
        .once('error', reject)
        .end()
    })
    passed.push(performance.now() - startedAt)
  }
  agent.destroy()
  return passed.toSorted((a, b) => a - b)[times >> 1]!
}
