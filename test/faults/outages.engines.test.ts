import { setTimeout as sleep } from 'node:timers/promises'
import connect from 'postgres'
import t, { type Test } from 'tap'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { forward } from '../helpers/clock.ts'
import { startFaultyProxy } from '../helpers/faulty-proxy.ts'
import { makePadded } from '../helpers/images.ts'
import { startLossyProxy } from '../helpers/lossy-proxy.ts'
import { multipart } from '../helpers/multipart.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { isProblem } from '../helpers/problem.ts'
import { startS3, withoutS3 } from '../helpers/s3.ts'

/** A call of the database has 10 s. */
const BOUND_MS = 12_000

const picture = () => makePadded(1000)
const upload = (app: App, url: string, body: Buffer) =>
  app.inject({ method: 'POST', url, ...multipart([{ body }]) })

/** Asserts that an answer says, without more, that the service is not to be had for the moment. */
function isUnavailable(
  t: Test,
  answer: Awaited<ReturnType<typeof upload>>,
  about: string,
  store = /database/,
) {
  isProblem(t, answer, 503, 'unavailable', store, about)
  t.match(answer.headers['retry-after'], /^[1-9]\d*$/, `${about}: Retry-After`)
  t.equal(answer.headers['cache-control'], 'no-store', `${about}: is not cached`)
  t.notMatch(answer.body, /ECONN|CONNECT|127\.0\.0\.1|select|insert/, `${about}: shows no internals`)
}

/** The response to each kind of call while the database is unavailable, and the maximum time in milliseconds. */
async function callAll(app: App, { link, id }: { link: string; id: string }) {
  const json = { headers: admin, body: { sinceNow: 'PT1H' } }
  const body = await picture()
  const calls = {
    'an upload': () => upload(app, link, body),
    'an image': () => app.inject(`/images/${id}`),
    'the head of an image': () => app.inject({ method: 'HEAD', url: `/images/${id}` }),
    'a new link': () => app.inject({ method: 'POST', url: '/admin/ephemeral-links', ...json }),
    'the list of images': () => app.inject({ url: '/admin/images', headers: admin }),
    'a removal': () => app.inject({ method: 'DELETE', url: `/admin/images/${id}`, headers: admin }),
    statistics: () => app.inject({ url: '/admin/stats', headers: admin }),
  }
  const start = performance.now()
  const answers = await Promise.all(
    Object.entries(calls).map(async ([about, call]) => ({ about, answer: await call() })),
  )
  return { answers, milliseconds: performance.now() - start }
}

/** The ids of all images, each of which must be served with the bytes of its hash. */
async function listServed(t: Test, app: App) {
  const { items } = (await app.inject({ url: '/admin/images?limit=500', headers: admin })).json()
  for (const { id, hash } of items) {
    const answer = await app.inject(`/images/${id}`)
    t.equal(answer.statusCode, 200)
    t.equal(answer.headers.etag, `"${hash}"`)
  }
  return items.map(({ id }: { id: string }) => id) as string[]
}

const postgres = startPostgres(t, { own: true })

t.test('while the database is unavailable', { skip: postgres.missing }, async (t) => {
  const url = await postgres.createDatabase()
  const app = await build(t, { DATABASE_URL: url })
  const link = await makeLink(app)
  const { id } = (await upload(app, link, await picture())).json().processed[0]
  /** So that all that is asked for needs the database. */
  const forget = () => {
    app.cache.images.delete(id)
    app.cache.links.delete(link.slice('/uploads/'.length))
  }

  await t.test('database stopped: every call gets 503 soon, and works again without a restart', async (t) => {
    await postgres.stop()
    forget()
    const { answers, milliseconds } = await callAll(app, { link, id })
    for (const { about, answer } of answers) {
      if (about === 'the head of an image') t.equal(answer.statusCode, 503, about)
      else isUnavailable(t, answer, about)
    }
    t.ok(milliseconds < 5_000, `${milliseconds.toFixed(0)} ms`)
    forward(t, 1_000) // the probe's result is used again for a second
    isUnavailable(t, await app.inject('/readyz'), 'readiness')
    t.equal((await app.inject('/livez')).statusCode, 200)
    t.equal((await app.inject('/metrics')).statusCode, 200)
    await postgres.restart()
    const start = performance.now()
    t.equal((await upload(app, link, await picture())).statusCode, 200)
    t.ok(performance.now() - start < 1_000, 'the first upload after it does not wait')
    forward(t, 1_000) // the probe's result is used again for a second
    t.equal((await app.inject('/readyz')).statusCode, 200)
  })

  await t.test(
    'database restarted after a crash, under load: calls get 200 or 503, and none hangs',
    async (t) => {
      const statuses = new Map<number, number>()
      const answered: string[] = []
      let stop = false
      const clients = Array.from({ length: 24 }, async () => {
        while (!stop) {
          const answer = await upload(app, link, await picture())
          statuses.set(answer.statusCode, (statuses.get(answer.statusCode) ?? 0) + 1)
          if (answer.statusCode === 200) answered.push(answer.json().processed[0].id)
          else await sleep(50)
        }
      })
      for (let round = 0; round < 3; round++) {
        await sleep(300)
        await postgres.stop()
        await postgres.restart()
      }
      stop = true
      await Promise.all(clients)
      t.comment(Object.fromEntries(statuses))
      t.strictSame(
        [...statuses.keys()].filter((status) => ![200, 503].includes(status)),
        [],
      )
      for (let i = 0; i < 50; i++) {
        const start = performance.now()
        const answers = await Promise.all([upload(app, link, await picture()), app.inject('/admin/stats')])
        t.equal(answers[0].statusCode, 200)
        t.ok(performance.now() - start < 1_000)
      }
      forget()
      for (const id of answered) t.equal((await app.inject(`/images/${id}`)).statusCode, 200)
    },
  )

  await t.test(
    'database suspended: every call gets 503 within its time limit, and works afterwards',
    async (t) => {
      await postgres.pause()
      try {
        forget()
        const { answers, milliseconds } = await callAll(app, { link, id })
        for (const { about, answer } of answers) t.equal(answer.statusCode, 503, about)
        t.ok(milliseconds < BOUND_MS, `${milliseconds.toFixed(0)} ms`)
        forward(t, 1_000) // the probe's result is used again for a second
        const start = performance.now()
        isUnavailable(t, await app.inject('/readyz'), 'readiness')
        t.ok(performance.now() - start < 3_000)
        t.equal((await app.inject('/livez')).statusCode, 200)
      } finally {
        await postgres.resume()
      }
      t.equal((await upload(app, link, await picture())).statusCode, 200)
      await listServed(t, app)
    },
  )

  await t.test('table locked: an upload gets 503; if it is recorded later, its object exists', async (t) => {
    const sql = connect(url, { max: 1 })
    t.teardown(() => sql.end())
    const before = (await listServed(t, app)).length
    const body = await picture()
    await sql.begin(async (sql) => {
      await sql`lock table images in exclusive mode`
      const start = performance.now()
      isUnavailable(t, await upload(app, link, body), 'an upload')
      t.ok(performance.now() - start < BOUND_MS)
    })
    const answer = await upload(app, link, body)
    t.match(answer.json().processed, [{ duplicate: true }], 'sent again, it is known by now')
    t.equal((await listServed(t, app)).length, before + 1)
  })
})

t.test(
  'an upload whose commit got no response is recorded, and is a duplicate if it is repeated',
  { skip: postgres.missing },
  async (t) => {
    const proxy = await startLossyProxy(t, await postgres.createDatabase())
    const app = await build(t, { DATABASE_URL: proxy.url })
    // By a link with a limit it is a transaction, else one statement.
    for (const [limit, answer] of [
      [{ maxImages: 100 }, 'COMMIT'],
      [{}, 'SELECT 1'],
    ] as const) {
      const link = await makeLink(app, { sinceNow: 'PT1H', ...limit })
      await upload(app, link, await picture())
      const before = await listServed(t, app)
      const body = await picture()
      proxy.loseAnswer(answer)
      isUnavailable(t, await upload(app, link, body), `recorded without a response: ${answer}`)
      const [id, ...others] = await listServed(t, app)
      t.strictSame(others, before, 'the image is there, and has its object')
      const again = await upload(app, link, body)
      t.match(again.json().processed, [{ id, duplicate: true }])
      t.strictSame(await listServed(t, app), [id, ...others])
    }
  },
)

t.test('while the bucket is unavailable', { skip: withoutS3() }, async (t) => {
  const s3 = await startS3(t)
  const bucket = await s3.createBucket('outages')
  const proxy = await startFaultyProxy(t, s3.endpoint)
  const app = await build(t, { OBJECT_STORE_URL: s3.url(bucket, { through: proxy.url }).href })
  const link = await makeLink(app)
  // Too large for the memory cache.
  const kept = Buffer.concat([await picture(), Buffer.alloc(300_000)])
  const { id } = (await upload(app, link, kept)).json().processed[0]

  const large = Buffer.concat([await picture(), Buffer.alloc(9 * 2 ** 20)])
  for (const fault of [500, 503]) {
    proxy.fail(() => fault)
    for (const body of [await picture(), large]) {
      isUnavailable(
        t,
        await upload(app, link, body),
        `an upload of ${body.length} bytes, ${fault}`,
        /object store/,
      )
    }
    isUnavailable(t, await app.inject(`/images/${id}`), `an image, ${fault}`, /object store/)
    t.match(
      (await upload(app, link, kept)).json().processed,
      [{ id, duplicate: true }],
      'what is known needs none',
    )
  }
  proxy.fail(() => 403)
  isUnavailable(t, await upload(app, link, await picture()), 'a bucket that refuses access', /object store/)

  proxy.fail(() => undefined)
  t.equal((await upload(app, link, await picture())).statusCode, 200)
  t.equal((await listServed(t, app)).length, 2)
  t.equal((await s3.openUploads(bucket)).length, 0)

  proxy.close()
  isUnavailable(t, await upload(app, link, await picture()), 'an upload, refused', /object store/)
  isUnavailable(t, await app.inject(`/images/${id}`), 'an image, refused', /object store/)
  forward(t, 1_000) // the probe's result is used again for a second
  isUnavailable(t, await app.inject('/readyz'), 'readiness', /object store/)
  t.equal((await app.inject('/livez')).statusCode, 200)
})
