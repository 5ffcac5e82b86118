import t from 'tap'
import { admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { isProblem } from '../helpers/problem.ts'
import { inTier } from '../helpers/tiers.ts'

inTier.default('metrics count requests and uploads, and contain no id', async (t) => {
  const app = await build(t)
  const url = await makeLink(app)
  const body = await makeImage()
  const { processed } = (
    await app.inject({ method: 'POST', url, ...multipart([{ body }, { body }, { body: 'text' }]) })
  ).json()
  await app.inject(`/images/${processed[0].id}`)
  await app.inject(`/images/${processed[0].id}`)
  await app.inject('/nowhere')

  const answer = await app.inject('/metrics')
  t.match(answer.headers['content-type'], /^text\/plain/)
  const value = (line: string) =>
    Number(
      answer.body
        .split('\n')
        .find((each) => each.startsWith(`${line} `))
        ?.split(' ')[1],
    )
  t.equal(value('hasty_uploads_total'), 2)
  t.equal(value('hasty_upload_duplicates_total'), 1)
  t.equal(value('hasty_upload_bytes_total'), 2 * body.length)
  t.equal(value('hasty_upload_rejections_total{reason="not_an_image"}'), 1)
  t.equal(value('hasty_images_served_total'), 2)
  t.equal(value('hasty_cache_hits_total{cache="images"}'), 1)
  t.equal(value('hasty_cache_misses_total{cache="images"}'), 1)
  t.equal(value('hasty_cache_hits_total{cache="knownHashes"}'), 1)
  t.equal(value('hasty_waiting_images'), 1, 'the image waits to be verified')
  t.ok(value('nodejs_eventloop_lag_seconds') >= 0)
  t.ok(value('process_resident_memory_bytes') > 1_000_000)
  t.equal(
    value('http_request_duration_seconds_count{method="GET",route="/images/:id",status_class="2xx"}'),
    2,
  )
  t.notMatch(answer.body, /[0-9A-Za-z]{48}/)
})

const postgres = startPostgres(t, { own: true })
inTier.engines(
  '/readyz names the store that does not respond, and recovers',
  { skip: postgres.missing },
  async (t) => {
    const app = await build(t, { DATABASE_URL: await postgres.createDatabase() })
    t.equal((await app.inject('/readyz')).statusCode, 200)
    await postgres.stop()
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
    for (let tried = 0; tried < 50; tried++) {
      if ((await app.inject('/readyz')).statusCode === 200) break
    }
    t.equal((await app.inject('/readyz')).statusCode, 200)
    t.ok(await makeLink(app))
  },
)
