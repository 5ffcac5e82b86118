import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { createFailedLookups, WINDOW_MS } from '../../services/access/failed-lookups.ts'
import { newId } from '../../services/ids.ts'
import { openDataStore } from '../../stores/data/index.ts'
import { type App, admin, build, makeLink, TOKEN } from '../helpers/app.ts'
import { replaceDate } from '../helpers/clock.ts'
import { dataDirWithLentDatabase } from '../helpers/embedded.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { until } from '../helpers/server.ts'

const LIMIT = 5

/** Keeps the date in the middle of a window until the end of the test: a new window would begin to count again. */
function amidWindow(t: Test) {
  const now = (Math.floor(Date.now() / WINDOW_MS) + 0.5) * WINDOW_MS
  t.teardown(replaceDate(() => now))
}

const body = await makeImage()
const uploadOf = (url: string, body: Buffer): InjectOptions => ({
  method: 'POST',
  url,
  ...multipart([{ body }]),
})
const upload = (url: string) => uploadOf(url, body)
const guess: Record<'link' | 'image' | 'token', () => InjectOptions> = {
  link: () => upload(`/uploads/${newId()}`),
  image: () => ({ url: `/images/${newId()}` }),
  token: () => ({ url: '/admin/stats', headers: { 'x-access-token': 'wrong' } }),
}
const wrong = {
  link: [404, 'link-not-found'],
  image: [404, 'image-not-found'],
  token: [401, 'unauthorized'],
} as const

/** Creates one valid request of each kind. */
async function known(app: App) {
  const link = await makeLink(app)
  const { processed } = (await app.inject(upload(link))).json()
  return {
    link: () => ({ ...upload(link), url: link }),
    image: (): InjectOptions & { url: string } => ({ url: `/images/${processed[0].id}` }),
    token: (): InjectOptions => ({ url: '/admin/stats', headers: admin }),
  }
}

async function isRefused(t: Test, app: App, request: InjectOptions, about: string) {
  const answer = await app.inject(request)
  isProblem(t, answer, 429, 'too-many-failed-lookups', /Retry-After/, about)
  const seconds = Number(answer.headers['retry-after'])
  t.ok(seconds >= 1 && seconds <= WINDOW_MS / 1000, `${about}: Retry-After ${seconds}`)
}

const app = await build(t, { GUESS_LIMIT: String(LIMIT), TRUST_PROXY: 'true' })
const right = await known(app)
const revoked = await makeLink(app)
const from = (address: string, request: InjectOptions): InjectOptions => ({
  ...request,
  headers: { ...request.headers, 'x-forwarded-for': address },
})

t.test('only failed look-ups are refused, each kind separately, and valid ones never', async (t) => {
  amidWindow(t)
  const kinds = ['link', 'image', 'token'] as const
  for (const kind of kinds) {
    for (let tries = 0; tries < LIMIT; tries++)
      isProblem(t, await app.inject(guess[kind]()), wrong[kind][0], wrong[kind][1])
    await isRefused(t, app, guess[kind](), `${kind}: one failure more`)
    t.equal((await app.inject(right[kind]())).statusCode, 200, `${kind}: a valid one from the same address`)
  }
  for (const kind of kinds) {
    const answer = await app.inject(from('203.0.113.1', guess[kind]()))
    t.equal(answer.statusCode, wrong[kind][0], `${kind}: another address`)
  }
})

t.test('clients behind one proxy are served while one of them sends wrong ids and tokens', async (t) => {
  amidWindow(t)
  const app = await build(t)
  const right = await known(app)
  for (let n = 0; n < 300; n++)
    for (const kind of ['link', 'image', 'token'] as const) await app.inject(guess[kind]())
  for (const kind of ['link', 'image', 'token'] as const) {
    t.equal((await app.inject(guess[kind]())).statusCode, 429, `${kind}: a failure`)
    t.equal((await app.inject(right[kind]())).statusCode, 200, `${kind}: a valid one`)
  }
})

t.test('an address is counted in one form, and an IPv6 address by its /64 and its /48', async (t) => {
  amidWindow(t)
  const status = async (address: string) => (await app.inject(from(address, guess.image()))).statusCode
  for (let n = 0; n < LIMIT; n++) t.equal(await status(`2001:db8:1:2:${n}::${n}`), 404)
  t.equal(await status('2001:db8:1:2:ffff::1'), 429, 'the same /64')
  t.equal(await status('2001:db8:1:3::1'), 404, 'another /64')
  for (let n = 0; n < 10 * LIMIT; n++) await status(`2001:db8:77:${n}::1`)
  t.equal(await status('2001:db8:77:ffff::1'), 429, 'the same /48, ten times as often')
  t.equal(await status('2001:db8:78:ffff::1'), 404, 'another /48')
  for (let n = 0; n < LIMIT; n++)
    t.equal(await status(n % 2 ? '198.51.100.7:4711' : '::ffff:198.51.100.7'), 404)
  t.equal(await status('198.51.100.7'), 429, 'with a port, as IPv4 and mapped to IPv6')
})

t.test('only failed look-ups are counted', async (t) => {
  const asks = async (request: InjectOptions) => (await app.inject(from('203.0.113.2', request))).statusCode
  await asks({
    method: 'DELETE',
    url: revoked.replace('/uploads/', '/admin/ephemeral-links/'),
    headers: admin,
  })
  const { processed } = (
    await app.inject(from('203.0.113.2', uploadOf(right.link().url, await makeImage())))
  ).json()
  const url = `/images/${processed[0].id}`
  for (let n = 0; n < 2 * LIMIT; n++) {
    t.equal(await asks({ url }), 200)
    t.equal(await asks(right.link()), 200)
    t.equal(await asks(upload(revoked)), 410, 'a link that was there')
    t.equal(await asks({ url: '/admin/stats' }), 401, 'no token')
    t.equal(await asks({ url: `/admin${url.slice(0, -1)}`, headers: admin }), 404, 'an admin')
    t.equal(await asks({ url: `/nowhere/${n}` }), 404, 'no route')
  }
  await asks({ method: 'DELETE', url: `/admin${url}`, headers: admin })
  for (let n = 0; n < 2 * LIMIT; n++) t.equal(await asks({ url }), 410, 'an image that was there')
})

t.test(
  'without a limit no look-up is refused, and all failures of a kind have the same response',
  async (t) => {
    const app = await build(t, { GUESS_LIMIT: '0' })
    const { image } = await known(app)
    const answers = async (...requests: (InjectOptions | string)[]) => {
      const bodies = await Promise.all(
        requests.map(async (request) => withoutId((await app.inject(request)).body)),
      )
      t.equal(new Set(bodies).size, 1, bodies.join('\n'))
    }
    const token = (value: string) => ({ url: '/admin/stats', headers: { 'x-access-token': value } })
    const { url = '' } = image()
    await answers('/admin/stats', token('wrong'), token(TOKEN.slice(1)), { url: `/admin${url}` })
    await answers(guess.image(), '/images/short', url.slice(0, -1), `${url}x`)
    await answers(guess.link(), upload('/uploads/short'), upload(url.replace('images', 'uploads')))
    for (let n = 0; n < 200; n++) t.equal((await app.inject(guess.image())).statusCode, 404)
  },
)

// Each response has the id of its request.
const withoutId = (body: string) => body.replace(/"requestId":"[^"]+"/, '')

t.test('processes add their counts', async (t) => {
  const data = await openDataStore(
    { dataDir: await dataDirWithLentDatabase(t), databaseUrl: undefined },
    { attach: true },
  )
  t.teardown(() => data.close())
  amidWindow(t)
  const processes = Array.from({ length: 3 }, () => createFailedLookups(data))
  for (let n = 0; n < 100; n++) for (const { add } of processes) add('link 203.0.113.7')
  await Promise.all(processes.map(({ close }) => close()))
  for (const lookups of processes) {
    lookups.add('link 203.0.113.7')
    await lookups.close()
    t.ok(lookups.of('link 203.0.113.7').current > 300, 'each has the counts of all')
    t.equal(lookups.of('link 203.0.113.8').current, 0)
  }
  const [row] = await data.sql`select sum(count)::bigint as count from failed_lookups`
  t.equal(row!.count, 303, 'none is lost')
  await data.sql`update failed_lookups set window_start = window_start - interval '1 hour'`
  await data.failedLookups.forget(new Date(Date.now() - 2 * WINDOW_MS))
  t.equal((await data.sql`select * from failed_lookups`).count, 0, 'addresses are not kept')
})

t.test('without the database each process counts alone, and adds its counts again afterwards', async (t) => {
  amidWindow(t)
  let unavailable = true
  const counted = new Map<string, number>()
  const lookups = createFailedLookups({
    failedLookups: {
      async add(_window, counts) {
        if (unavailable) throw new Error('unavailable')
        for (const [address, count] of counts) counted.set(address, 40 + count)
        return counted
      },
      forget: async () => {},
    },
  })
  for (let n = 1; n <= 20; n++) t.equal(lookups.add('image ::').current, n)
  unavailable = false
  await until(async () => {
    lookups.add('image ::')
    await lookups.close()
    return lookups.of('image ::').current >= 41 ? true : undefined
  })
})
