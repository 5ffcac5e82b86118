import sharp from 'sharp'
import t from 'tap'
import { type Decoder, DecoderTimeout, DecoderUnavailable } from '../../services/analysis/sandbox/decoder.ts'
import { newId } from '../../services/ids.ts'
import { createLifecycle } from '../../services/lifecycle/index.ts'
import { isVariantKey, newVariantKey } from '../../services/variants/keys.ts'
import { createRenderers, rendererLimits } from '../../services/variants/renderers.ts'
import { type App, admin, build, imageReader, makeLink } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { backdate, buildWithSweep, DAY, HOUR, keysOf, put, putOld, putVariant } from '../helpers/lifecycle.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

type Render = Decoder['render']
const bytes = await sharp(await makeImage())
  .jpeg()
  .toBuffer()
const works: Render = async () => ({ bytes, width: 8, height: 6 })
const fails =
  (error: Error): Render =>
  () =>
    Promise.reject(error)

/** Processes that do what the test says, one job after the other. */
function fakeRenderers(jobs: Render[], { concurrency = 1, longestWait = 50 } = {}) {
  const decoder = {
    start: async () => {},
    close: async () => {},
    run: () => Promise.reject(new Error('not used')),
    render: ((...job) => (jobs.shift() ?? works)(...job)) as Render,
  }
  return createRenderers({ concurrency, longestWait, memory: 0, create: () => decoder })
}

async function upload(app: App) {
  const answer = await app.inject({
    method: 'POST',
    url: await makeLink(app),
    ...multipart([{ body: await makeImage() }]),
  })
  return answer.json().processed[0].id as string
}

t.test('if no process can be started, the response does not have what the process printed', async (t) => {
  const error = new DecoderUnavailable(
    'a decoder process cannot be started (1) Error: at /srv/hasty/child.ts',
  )
  const app = await build(t, {}, { imageReader, renderers: fakeRenderers([fails(error)]) })
  const url = `/images/${await upload(app)}?w=160&format=jpeg`
  const refused = await app.inject(url)
  isProblem(
    t,
    refused,
    503,
    'busy',
    /^No process that makes variants can be started now\. Try again later\.$/,
  )
  t.equal((await app.inject(url)).statusCode, 200)
})

for (const [what, error, reason] of [
  ['is killed', new Error('the decoder process ended (SIGKILL)'), /ended \(SIGKILL\)/],
  ['hangs', new DecoderTimeout('the image takes more than 30 s to decode'), /more than 30 s/],
  ['runs out of memory', new Error('the image takes more than 512 MiB to decode'), /512 MiB/],
] as const)
  t.test(
    `if the process ${what}, the response is 503 with the reason, and the next request tries again`,
    async (t) => {
      const app = await build(t, {}, { imageReader, renderers: fakeRenderers([fails(error)]) })
      const url = `/images/${await upload(app)}?w=160&format=jpeg`
      const refused = await app.inject(url)
      isProblem(t, refused, 503, 'variant-failed', reason)
      t.ok(Number(refused.headers['retry-after']) > 0)
      t.equal((await app.inject(url)).statusCode, 200)
    },
  )

t.test('after three failures of a process, nobody tries again for a while', async (t) => {
  const jobs = Array.from({ length: 3 }, () => fails(new Error('the decoder process ended (SIGSEGV)')))
  const app = await build(t, {}, { imageReader, renderers: fakeRenderers(jobs) })
  const url = `/images/${await upload(app)}?w=160&format=jpeg`
  for (let n = 0; n < 5; n++) isProblem(t, await app.inject(url), 503, 'variant-failed', /SIGSEGV/)
  t.equal(jobs.length, 0)
  t.equal(app.services.variants.counts.created, 0)
  t.equal((await app.inject(url.replace('160', '320'))).statusCode, 200, 'other variants are made')
})

t.test('if all processes are busy, the response is 503 with Retry-After, and no lease remains', async (t) => {
  const { promise: free, resolve: release } = Promise.withResolvers<void>()
  const { promise: started, resolve: start } = Promise.withResolvers<void>()
  const slow: Render = async (...job) => {
    start()
    await free
    return works(...job)
  }
  const app = await build(t, {}, { imageReader, renderers: fakeRenderers([slow]) })
  const [first, other] = [await upload(app), await upload(app)]
  // `then` sends the request.
  const waiting = app.inject(`/images/${first}?w=160`).then((answer) => answer)
  await started
  const url = `/images/${other}?w=160`
  const refused = await app.inject(url)
  isProblem(t, refused, 503, 'busy')
  t.ok(Number(refused.headers['retry-after']) > 0)
  release()
  t.equal((await waiting).statusCode, 200)
  t.equal((await app.inject(url)).statusCode, 200)
})

t.test('a picture without a decoder gets 406, and no process is asked again', async (t) => {
  const unrenderable: Render = async () => ({ kind: 'unrenderable', reason: 'there is no decoder for it' })
  const app = await build(t, {}, { imageReader, renderers: fakeRenderers([unrenderable]) })
  const url = `/images/${await upload(app)}?w=160`
  for (let n = 0; n < 2; n++)
    isProblem(t, await app.inject(url), 406, 'image-not-showable', /^There is no decoder for it\.$/)
})

t.test('what happens to an image while a process makes its variant leaves nothing behind', async (t) => {
  const gates: { started(): void; free: Promise<unknown> }[] = []
  const gated: Render = async (...job) => {
    const gate = gates.shift()
    gate?.started()
    await gate?.free
    return works(...job)
  }
  const jobs = Array.from({ length: 20 }, () => gated)
  const folder = newFolder(t)
  const app = await build(
    t,
    { OBJECT_STORE_URL: `file://${folder}/objects`, COLD_STORE_URL: `file://${folder}/cold` },
    { imageReader, renderers: fakeRenderers(jobs) },
  )
  const [hot, cold] = app.stores.objects.of('')

  /** Requests a variant, and runs `act` while a process makes it. */
  async function during(id: string, act: () => Promise<unknown>) {
    const [started, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    gates.push({ started: started.resolve, free: free.promise })
    const answer = app.inject(`/images/${id}?w=160&format=jpeg`).then((answer) => answer)
    await started.promise
    await act()
    free.resolve()
    return answer
  }
  const remove = (path: string) => app.inject({ method: 'DELETE', url: path, headers: admin })
  const left = async () => ({
    hot: await keysOf(hot!),
    cold: await keysOf(cold!),
    rows: (await app.stores.data.sql`select spec from variants`).length,
  })

  const removed = await upload(app)
  const gone = await during(removed, () => remove(`/admin/images/${removed}`))
  t.equal(gone.statusCode, 410)
  t.strictSame(await left(), { hot: [], cold: [], rows: 0 }, 'the image was removed')

  const archived = await upload(app)
  const { lifecycle } = app.stores.data
  const shown = await during(archived, async () => {
    await app.stores.data.sql`update images set last_accessed_at = now() - interval '9 days'`
    await app.stores.data.sql`update uploads set received_at = now() - interval '9 days'`
    const log = { info() {}, warn() {}, error() {} }
    const config = { ...app.config, archiveAfter: DAY }
    const sweep = createLifecycle({ stores: app.stores, log, config })
    t.match(await sweep.sweep({ signal: new AbortController().signal }), { archived: 1 })
  })
  t.equal(shown.statusCode, 200, 'the image was archived, and its variant is made again')
  const own = { hot: await keysOf(hot!), cold: await keysOf(cold!) }
  t.strictSame([own.hot.length, own.cold], [1, [archived]])
  t.equal((await lifecycle.find([archived]))[0]?.tier, 'cold')

  await remove(`/admin/images/${archived}/variants`)
  const again = await during(archived, () => remove('/admin/variants'))
  t.equal(again.statusCode, 200)
  const other = await during(await upload(app), () => remove(`/admin/images/${archived}/variants`))
  t.equal(other.statusCode, 200)
  const { hot: objects, rows } = await left()
  t.equal(objects.filter(isVariantKey).length, rows, 'each object of a variant has its row')
})

t.test('the processes of all API processes together fit in the memory', async (t) => {
  const GiB = 2 ** 30
  t.strictSame(rendererLimits(1, 8 * GiB, 2), { concurrency: 2, memory: 2 * GiB })
  t.strictSame(rendererLimits(4, 8 * GiB, 4), { concurrency: 1, memory: GiB })
  t.strictSame(rendererLimits(1, GiB, 1), { concurrency: 1, memory: GiB / 2 })
})

t.test('the sweep', async (t) => {
  const { fresh } = await buildWithSweep(t, {})

  /** An image with a variant. */
  async function withVariant({ app, objects, upload }: Awaited<ReturnType<typeof fresh>>) {
    const { id } = await upload(await makeImage())
    const objectKey = await putVariant(app, id)
    await backdate(objects, objectKey, HOUR)
    return { id, objectKey }
  }

  await t.test('deletes the objects of variants that no image has, and no others', async (t) => {
    const swept = await fresh()
    const { objects, cold, sweep, stores } = swept
    const { id, objectKey } = await withVariant(swept)
    await putOld(objects, newVariantKey(id))
    await putOld(objects, newVariantKey(newId()))
    await putOld(cold, objectKey)
    const young = newVariantKey(id)
    await put(objects, young, bytes)
    await backdate(objects, young, -HOUR)
    t.match(await sweep(), { variants: 3, orphans: 0, missing: 0, failedSteps: 0 })
    t.strictSame(await keysOf(objects), [id, objectKey, young].sort())
    t.strictSame(await keysOf(cold), [])

    // The process ended between the removal of the image and that of its variants.
    await stores.data.images.remove(id)
    t.match(await sweep(), { variants: 1, failedSteps: 0 })
    t.strictSame(await keysOf(objects), [young])
    t.equal((await stores.data.sql`select spec from variants`).length, 0)
  })

  await t.test('deletes the variants of an image that it archives, and of one that it removes', async (t) => {
    const swept = await fresh()
    const { objects, cold, sweep, age } = swept
    const { id } = await withVariant(swept)
    await age(id, 10 * DAY)
    t.match(await sweep({ archiveAfter: DAY }), { archived: 1, failedSteps: 0 })
    t.strictSame([await keysOf(objects), await keysOf(cold)], [[], [id]])
    const removed = await withVariant(swept)
    await age(removed.id, 10 * DAY)
    t.match(await sweep({ deleteAfter: DAY }), { failedSteps: 0 })
    t.strictSame(await keysOf(objects), [])
  })
})
