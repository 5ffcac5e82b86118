import { createHash, randomBytes } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import t from 'tap'
import { createVerify, readVerifyState } from '../../../services/lifecycle/verify.ts'
import { hasPaths } from '../../../stores/objects/object-store.ts'
import { type App, admin, build, makeLink } from '../../helpers/app.ts'
import { newFolder } from '../../helpers/folder.ts'
import { makeImage } from '../../helpers/images.ts'
import { multipart } from '../../helpers/multipart.ts'

const FAST = 2 ** 40

function collectLog() {
  const lines: { level: string; message: string; context: object }[] = []
  const at = (level: string) => (context: object, message: string) =>
    void lines.push({ level, message, context })
  return { lines, log: { info: at('info'), warn: at('warn'), error: at('error') } }
}

function verifier({ stores }: App, rate = FAST, every = 3_600_000) {
  const { lines, log } = collectLog()
  const verify = createVerify({ stores, log, config: { verifyEvery: every, verifyRate: rate } })
  return { lines, verify, pass: (signal = new AbortController().signal) => verify.pass({ signal }) }
}

async function upload(app: App, count: number) {
  const link = await makeLink(app)
  const one = await makeImage()
  const images: { id: string; bytes: Buffer; path: string; cold: string }[] = []
  const [hot, cold] = app.stores.objects.of('')
  for (let n = 0; n < count; n++) {
    const bytes = Buffer.concat([one, randomBytes(20_000)])
    const form = multipart([{ body: bytes }])
    const answer = await app.inject({ method: 'POST', url: link, ...form })
    const [{ id }] = answer.json().processed
    if (!hot || !hasPaths(hot) || !cold || !hasPaths(cold)) throw new Error('no files')
    images.push({ id, bytes, path: hot.path(id), cold: cold.path(id) })
  }
  return images.sort((a, b) => (a.id < b.id ? -1 : 1))
}

async function start(t: Parameters<typeof build>[0]) {
  const folder = newFolder(t)
  return build(t, {
    OBJECT_STORE_URL: `file://${folder}/objects`,
    COLD_STORE_URL: `file://${folder}/cold`,
  })
}

t.test('a pass finds each changed and each missing object, keeps and marks it, and reports it', async (t) => {
  const app = await start(t)
  const [good, flipped, cut, lost, moved] = await upload(app, 5)
  const damage = Buffer.from(flipped!.bytes)
  damage[damage.length - 1]! ^= 1
  await writeFile(flipped!.path, damage)
  await writeFile(cut!.path, cut!.bytes.subarray(0, 100))
  await rm(lost!.path)
  // An archived image, whose copy in the hot store is damaged and does not matter.
  const cold = app.stores.objects.at({ region: '', tier: 'cold' })
  await (await cold.stage(moved!.id, (await import('node:stream')).Readable.from([moved!.bytes]))).commit()
  await app.stores.data.lifecycle.move(moved!.id, 'cold')
  await writeFile(moved!.path, 'other bytes')

  const { pass, lines } = verifier(app)
  t.match(await pass(), { images: 5, mismatches: 2, missing: 1, restored: 0, finishedAt: String })
  t.equal(lines.filter(({ level }) => level === 'error').length, 4, 'one for each image, and the summary')
  t.same(await readFile(flipped!.path), damage, 'a damaged object is kept')

  const list = async (query: string) =>
    (await app.inject({ url: `/admin/images?${query}`, headers: admin })).json().items as { id: string }[]
  t.same(new Set((await list('objectFault=mismatch')).map(({ id }) => id)), new Set([flipped!.id, cut!.id]))
  t.match(await list('objectFault=missing'), [{ id: lost!.id, objectFault: 'missing' }])
  t.notOk('objectFault' in (await list('')).find(({ id }) => id === good!.id)!)
  t.equal(await app.stores.data.lifecycle.faulty(), 3)

  await writeFile(flipped!.path, flipped!.bytes)
  t.match(
    await pass(),
    { images: 5, mismatches: 1, missing: 1, recovered: 1 },
    'a repaired one is not marked',
  )
  await app.inject({ method: 'DELETE', url: `/admin/images/${lost!.id}`, headers: admin })
  t.equal(await app.stores.data.lifecycle.faulty(), 1, 'a removed one does not count')
})

t.test('a pass removes each damaged and each missing variant, and it is made again', async (t) => {
  const app = await start(t)
  const { id } = (await upload(app, 1))[0]!
  const url = (w: number) => `/images/${id}?w=${w}&format=jpeg`
  const hot = app.stores.objects.at({ region: '', tier: 'hot' })
  if (!hasPaths(hot)) throw new Error('no files')
  const made = new Map<number, { etag: string; path: string }>()
  for (const w of [160, 320, 640, 960]) {
    const known = new Set([...made.values()].map(({ path }) => path))
    const { etag } = (await app.inject(url(w))).headers
    const rows = await app.stores.data.sql<{ objectKey: string }[]>`select object_key from variants`
    const path = rows.map(({ objectKey }) => hot.path(objectKey)).find((path) => !known.has(path))!
    made.set(w, { etag: String(etag), path })
  }
  const changed = await readFile(made.get(320)!.path)
  changed[changed.length - 3]! ^= 1
  await writeFile(made.get(320)!.path, changed)
  await rm(made.get(640)!.path)
  await writeFile(made.get(960)!.path, changed.subarray(0, 20))

  const { pass, lines } = verifier(app)
  t.match(await pass(), { images: 1, mismatches: 0, missing: 0, variants: 4, removedVariants: 3 })
  t.equal(lines.filter(({ level }) => level === 'warn').length, 3)
  t.equal((await app.stores.data.sql`select spec from variants`).length, 1)
  for (const [w, { etag }] of made) {
    const again = await app.inject(url(w))
    t.equal(again.statusCode, 200)
    t.equal(again.headers.etag, etag, `${w}: the bytes are those that were made first`)
  }
  t.match(await pass(), { variants: 4, removedVariants: 0 })
})

t.test('an object is restored from the other tier, if that has the right one', async (t) => {
  const app = await start(t)
  const [flipped, lost, hopeless] = await upload(app, 3)
  const cold = app.stores.objects.at({ region: '', tier: 'cold' })
  const { Readable } = await import('node:stream')
  for (const { id, bytes } of [flipped!, lost!]) await (await cold.stage(id, Readable.from([bytes]))).commit()
  await (await cold.stage(hopeless!.id, Readable.from(['wrong too']))).commit()
  await writeFile(flipped!.path, 'damaged')
  await rm(lost!.path)
  await writeFile(hopeless!.path, 'damaged')

  const { pass, lines } = verifier(app)
  t.match(await pass(), { images: 3, restored: 2, mismatches: 1, missing: 0 })
  for (const { path, bytes } of [flipped!, lost!])
    t.equal(
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
      createHash('sha256').update(bytes).digest('hex'),
    )
  t.equal(await readFile(hopeless!.path, 'utf8'), 'damaged')
  t.equal(lines.filter(({ message }) => /was restored/.test(message)).length, 2)
})

t.test('an interrupted pass continues where it stopped, and reads no faster than its rate', async (t) => {
  const app = await start(t)
  const images = await upload(app, 6)
  const total = images.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const stop = new AbortController()
  const { verify } = verifier(app, total * 2) // half a second for all
  const startedAt = performance.now()
  await t.rejects(
    verify.pass({ signal: stop.signal, onProgress: ({ images }) => images === 3 && stop.abort() }),
    { name: 'AbortError' },
  )
  const half = performance.now() - startedAt
  t.ok(half > 200, `${Math.round(half)} ms`)
  const interrupted = await readVerifyState(app.stores)
  t.match(interrupted, { images: 3, after: images[2]!.id, finishedAt: undefined })

  await writeFile(images[0]!.path, 'damaged after it was read')
  const { pass } = verifier(app)
  t.match(await pass(), { images: 6, bytes: total, mismatches: 0, startedAt: interrupted!.startedAt })
  t.match(await pass(), { images: 6, mismatches: 1 }, 'the next pass begins at the first image')
})

t.test('workers verify when the period is over, one at a time', async (t) => {
  const app = await start(t)
  await upload(app, 1)
  const { verify, pass } = verifier(app)
  const during = await app.stores.data.withLease('verify', () => pass())
  t.same(during, { result: undefined }, 'another process verifies')

  const stop = new AbortController()
  const running = verify.verifyPeriodically(stop.signal, 10)
  const until = async (check: () => Promise<boolean>) => {
    for (let n = 0; n < 500 && !(await check()); n++) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await until(async () => (await readVerifyState(app.stores))?.finishedAt !== undefined)
  const first = await readVerifyState(app.stores)
  t.match(first, { images: 1, finishedAt: String })
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.same(await readVerifyState(app.stores), first, 'not again before the period is over')
  await app.stores.data.jobState.save('verify', { ...first, startedAt: '2026-01-01T00:00:00Z' })
  await until(async () => (await readVerifyState(app.stores))?.startedAt !== '2026-01-01T00:00:00Z')
  t.not((await readVerifyState(app.stores))?.startedAt, '2026-01-01T00:00:00Z')
  stop.abort()
  await running
})
