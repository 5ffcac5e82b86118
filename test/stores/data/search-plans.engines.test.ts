import postgres from 'postgres'
import t from 'tap'
import { newId } from '../../../services/ids.ts'
import { createImages } from '../../../stores/data/images.ts'
import { openDataStore } from '../../../stores/data/index.ts'
import type { ImageSearch } from '../../../stores/data/interfaces/images.ts'
import { startPostgres } from '../../helpers/postgres.ts'

const server = startPostgres(t)
const ROWS = 20_000

t.test('each filter of the list uses an index', { skip: server.missing }, async (t) => {
  const databaseUrl = await server.createDatabase()
  const data = await openDataStore({ databaseUrl, dataDir: '' }, { attach: false })
  t.teardown(() => data.close())
  const link = newId()
  await data.sql`insert into links (id, expires_at) select ${link}, now() union all select 'busy', now()`
  await data.sql`
    insert into images (
      id, hash, size, status, format, media_type, camera_model, taken_at, latitude, longitude, received_at, due_at
    )
    select
      lpad(n::text, 48, '0'), n::text, 1000,
      case when n % 500 = 0 then 'corrupt' else 'ready' end,
      case when n % 400 = 0 then 'AVIF' else 'JPEG' end, 'image/jpeg',
      'Model ' || n % 300,
      to_char(timestamp '2015-01-01' + n * interval '3 hours', 'YYYY-MM-DD"T"HH24:MI:SS'),
      (n * 7919) % 17957 / 100.0 - 90, (n * 6131) % 35969 / 100.0 - 180,
      timestamptz '2020-01-01' + n * interval '1 hour', null
    from generate_series(1, ${ROWS}) as n`
  await data.sql`
    insert into uploads (link_id, image_id, name, duplicate, received_at)
    select case when n % 1000 = 0 then ${link} else 'busy' end, lpad(n::text, 48, '0'), 'IMG_' || n, false,
      timestamptz '2020-01-01' + n * interval '1 hour'
    from generate_series(1, ${ROWS}) as n`
  await data.sql`insert into upload_counts values ('location', 'hot ', 0, ${ROWS}, 0)`
  await data.sql`analyze`

  // The very statements that the store runs are explained.
  let ran: { query: string; parameters: unknown[] }[] = []
  const sql = postgres(databaseUrl, {
    max: 1,
    transform: postgres.camel,
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
    debug: (_connection, query, parameters) => {
      if (!query.startsWith('explain')) ran.push({ query, parameters })
    },
  })
  t.teardown(() => sql.end())
  const images = createImages(sql)

  const searches: Record<string, [ImageSearch, index: RegExp]> = {
    nothing: [{}, /images_page/],
    status: [{ status: 'corrupt' }, /images_status_page|images_page/],
    format: [{ format: 'AVIF' }, /images_format_page/],
    camera: [{ cameraModel: 'Model 7' }, /images_camera_page/],
    received: [
      { receivedFrom: new Date('2020-03-01T00:00:00Z'), receivedTo: new Date('2020-03-02T00:00:00Z') },
      /images_page/,
    ],
    taken: [{ takenFrom: '2016-05-01', takenTo: '2016-05-03' }, /images_taken/],
    location: [{ box: { west: 5, south: 45, east: 10, north: 48 } }, /images_place/],
    'place over the antimeridian': [
      { box: { west: 178, south: -20, east: -178, north: -18 } },
      /images_place/,
    ],
    link: [{ link }, /uploads_link_image|uploads_link_page/],
    name: [{ name: 'g_777' }, /Seq Scan on uploads/],
    hash: [{ hash: '12345' }, /images_shared_content/],
    'link and camera': [
      { link, cameraModel: 'Model 100' },
      /uploads_link_image|uploads_link_page|images_camera_page/,
    ],
  }
  for (const [name, [search, index]] of Object.entries(searches)) {
    for (const after of [undefined, { at: new Date('2022-01-01T00:00:00Z'), id: 'x' }]) {
      ran = []
      const { items } = await images.page({ limit: 50, search, after })
      if (!after) t.ok(items.length > 0, `${name}: finds some`)
      const statements = ran.filter(({ query }) => /from (images|uploads)/.test(query))
      const plans: string[] = []
      for (const { query, parameters } of statements)
        plans.push(
          (await sql.unsafe(`explain ${query}`, parameters as never[]))
            .map((row) => row.queryPlan ?? row['QUERY PLAN'])
            .join('\n'),
        )
      const plan = plans.join('\n\n')
      if (!after) t.match(plan, index, name)
      // A search by name reads all names, and the list of images if the newest uploads do not fill the page.
      if (search.name === undefined) t.notMatch(plan, /Seq Scan on (images|uploads)/, plan)
    }
  }
})
