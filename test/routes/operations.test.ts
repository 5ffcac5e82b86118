import t from 'tap'
import { createReadiness } from '../../services/readiness.ts'
import { createObjectStores } from '../../stores/objects/index.ts'
import { StoreUnavailable } from '../../stores/unavailable.ts'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { isProblem } from '../helpers/problem.ts'
import { until } from '../helpers/server.ts'
import { inTier } from '../helpers/tiers.ts'

inTier.default('metrics count requests and uploads, and contain no id', async (t) => {
  const app = await build(t)
  const url = await makeLink(app)
  const body = await makeImage()
  const { processed } = (
    await app.inject({ method: 'POST', url, ...multipart([{ body }, { body }, { body: 'text' }]) })
  ).json()
  const image = await app.inject(`/images/${processed[0].id}`)
  const get = (headers: Record<string, string>) => app.inject({ url: `/images/${processed[0].id}`, headers })
  await get({})
  t.equal((await get({ range: 'bytes=0-9' })).statusCode, 206)
  t.equal((await get({ 'if-none-match': String(image.headers.etag) })).statusCode, 304)
  await app.inject({ method: 'POST', url: `/uploads/${'A'.repeat(48)}`, ...multipart([{ body }]) })
  await app.inject('/nowhere')
  for (const query of ['w=160&format=png', 'w=160&format=png', 'w=161'])
    await app.inject(`/images/${processed[0].id}?${query}`)
  const resumable = { 'tus-resumable': '1.0.0', 'upload-length': '1000' }
  t.equal((await app.inject({ method: 'POST', url: `${url}/files`, headers: resumable })).statusCode, 201)

  const answer = await app.inject('/metrics')
  t.match(answer.headers['content-type'], /^text\/plain/)
  const value = (line: string) =>
    Number(
      answer.body
        .split('\n')
        .find((each) => each.startsWith(`${line} `))
        ?.slice(line.length + 1),
    )
  t.equal(value('hasty_uploads_total{method="multipart"}'), 2)
  t.equal(value('hasty_upload_duplicates_total{method="multipart"}'), 1)
  t.equal(value('hasty_upload_bytes_total{method="multipart"}'), 2 * body.length)
  t.equal(value('hasty_upload_rejections_total{method="multipart",reason="not_an_image"}'), 1)
  t.equal(value('hasty_images_served_total{result="full"}'), 2)
  t.equal(value('hasty_images_served_total{result="partial"}'), 1)
  t.equal(value('hasty_images_served_total{result="not_modified"}'), 1)
  t.equal(value('hasty_images_served_bytes_total'), 2 * body.length + 10)
  t.equal(value('hasty_variants_created_total'), 1)
  t.equal(value('hasty_variants_served_total'), 2)
  t.equal(value('hasty_variants_refused_total'), 1)
  t.equal(value('hasty_variant_duration_seconds_count{outcome="success"}'), 1)
  t.equal(value('hasty_unfinished_uploads'), 1)
  t.equal(
    value('hasty_upload_rejections_total{method="multipart",reason="insufficient_storage"}'),
    0,
    'an increase from 0 is seen',
  )
  for (const disk of ['data', 'hot']) {
    t.ok(value(`hasty_disk_free_bytes{disk="${disk}"}`) > 0, disk)
    t.ok(value(`hasty_disk_size_bytes{disk="${disk}"}`) >= value(`hasty_disk_free_bytes{disk="${disk}"}`))
  }
  t.equal(value('hasty_links_created_total'), 1)
  t.equal(value('hasty_link_refusals_total{reason="not_found"}'), 1)
  t.equal(value('hasty_problems_total{problem="LinkNotFound"}'), 1)
  t.equal(value('hasty_uploads_in_flight'), 0)
  t.equal(value('hasty_staged_bytes'), 0)
  for (const stage of ['receive', 'database'])
    t.ok(value(`hasty_upload_stage_duration_seconds_count{stage="${stage}"}`) >= 2, stage)
  t.equal(value('hasty_upload_stage_duration_seconds_count{stage="store"}'), 1, 'a duplicate is not stored')
  t.equal(value('hasty_stored_images{region="",tier="hot"}'), 1)
  t.equal(value('hasty_stored_bytes{region="",tier="hot"}'), body.length)
  t.ok(value('hasty_oldest_waiting_image_age_seconds') > 0)
  t.equal(value('hasty_cache_hits_total{cache="images"}'), 5)
  t.equal(value('hasty_cache_misses_total{cache="images"}'), 1)
  t.equal(value('hasty_cache_hits_total{cache="knownHashes"}'), 1)
  t.equal(value('hasty_waiting_images'), 1, 'the image waits to be verified')
  t.ok(value('nodejs_eventloop_lag_p99_seconds{process="api"}') >= 0)
  t.ok(value('process_resident_memory_bytes{process="api"}') > 1_000_000)
  t.equal(
    value('http_request_duration_seconds_count{method="GET",route="/images/:id",status_class="2xx"}'),
    5,
  )
  t.match(answer.body, /^hasty_build_info\{version="\d/m)
  t.notMatch(answer.body, /[0-9A-Za-z]{48}/)

  await app.inject({ method: 'DELETE', url: `/admin/images/${processed[0].id}`, headers: admin })
  const { body: later } = await app.inject('/metrics')
  t.match(later, /^hasty_stored_images\{region="",tier="hot"\} 0$/m, 'a removed image is not counted')
})

inTier.default('with METRICS_PORT, the public port has neither metrics nor probes', async (t) => {
  const app = await build(t, { METRICS_PORT: '9464' })
  for (const url of ['/metrics', '/livez', '/readyz', '/startupz'])
    t.equal((await app.inject(url)).statusCode, 404, url)
})

inTier.default('a store is asked once a second, however many probes ask', async (t) => {
  let now = 0
  let asked = 0
  let isBroken = false
  const data = {
    async ping() {
      asked++
      if (isBroken) throw new StoreUnavailable('database', {})
    },
  } as unknown as App['stores']['data']
  const readiness = createReadiness({ data, objects: createObjectStores([]) }, () => now)
  await Promise.all([readiness.check(), readiness.check()])
  isBroken = true
  now = 999
  await readiness.check()
  t.equal(asked, 1)
  now = 1_000
  await t.rejects(readiness.check(), { message: /database/ })
  await t.rejects(readiness.check(), { message: /database/ })
  t.equal(asked, 2)
})

const postgres = startPostgres(t, { own: true })
inTier.engines(
  '/readyz names the store that does not respond, and recovers',
  { skip: postgres.missing },
  async (t) => {
    const app = await build(t, { DATABASE_URL: await postgres.createDatabase() })
    t.equal((await app.inject('/readyz')).statusCode, 200)
    await postgres.stop()
    await until(async () => ((await app.inject('/readyz')).statusCode === 503 ? true : undefined))
    isProblem(t, await app.inject('/readyz'), 503, 'unavailable', /database/)
    t.equal((await app.inject('/livez')).statusCode, 200)
    const link = await app.inject({
      method: 'POST',
      url: '/admin/ephemeral-links',
      headers: admin,
      body: { sinceNow: 'PT1H' },
    })
    t.ok(link.statusCode >= 500)
    t.notMatch(link.body, /ECONNREFUSED|127\.0\.0\.1|select|insert/)
    await postgres.restart()
    await until(async () => ((await app.inject('/readyz')).statusCode === 200 ? true : undefined), 30_000)
    t.ok(await makeLink(app))
  },
)
