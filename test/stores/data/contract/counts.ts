import type { Test } from 'tap'
import { newId } from '../../../../services/ids.ts'
import { createStats } from '../../../../services/stats.ts'
import type { Verdict } from '../../../../stores/data/interfaces/image-leases.ts'
import type { LinkRow } from '../../../../stores/data/interfaces/links.ts'
import { retry } from '../../../../stores/data/retry.ts'
import { type Random, seeded } from '../../../helpers/random.ts'
import { tier } from '../../../helpers/tiers.ts'
import { atOnce, type Context, countDrift, dayOf, hashOf, newImage, part } from './context.ts'

/** How a data store counts uploads. */
export function testCounts(t: Test, context: Context) {
  const { sql, links, uploads, images, imageLeases, stats, insertLink, record, leaseOne, store } = context
  t.test('most uploads come first, and equal ones by name', async (t) => {
    t.strictSame(await createStats(store).read(), {
      topFormats: [],
      top10CameraModels: [],
      uploadFrequency30Days: [],
    })
    const link = await insertLink()
    const models = { 'Box 2': 2, 'Box 10': 5, 'Box 1': 2, '': 3, ...manyModels(20) }
    for (const [cameraModel, uploads] of Object.entries(models)) {
      const image = newImage('ready', { format: cameraModel ? 'PNG' : 'JPEG', cameraModel })
      for (let n = 0; n < uploads; n++) await record(link, cameraModel, image)
    }
    const [upload] = (await store.uploads.pageOfLink(link.id, { limit: 1 })).items
    t.strictSame(await createStats(store).read(), {
      popularFormat: { format: 'PNG', uploads: 29 },
      topFormats: [
        { format: 'PNG', uploads: 29, bytes: 290 },
        { format: 'JPEG', uploads: 3, bytes: 30 },
      ],
      top10CameraModels: [
        { model: 'Box 10', uploads: 5, bytes: 50 },
        { model: 'unknown', uploads: 3, bytes: 30 },
        { model: 'Box 1', uploads: 2, bytes: 20 },
        { model: 'Box 2', uploads: 2, bytes: 20 },
        ...Object.keys(manyModels(6)).map((model) => ({ model, uploads: 1, bytes: 10 })),
      ],
      uploadFrequency30Days: [{ date: `${dayOf(upload!.receivedAt)}T00:00:00Z`, uploads: 32, bytes: 320 }],
    })
  })

  t.test('30 days are days in UTC, newest first, without those that have no uploads', async (t) => {
    const link = await insertLink()
    const times = {
      tomorrow: '2024-03-16T00:00:00.000Z',
      today: '2024-03-15T23:59:59.999Z',
      yesterday: '2024-03-14T00:00:00.000Z',
      leapDay: '2024-02-29T12:00:00.000Z',
      first: '2024-02-15T00:00:00.000Z',
      before: '2024-02-14T23:59:59.999Z',
    }
    for (const [content, time] of Object.entries(times)) await uploadAt(context, link, content, time)
    await uploadAt(context, link, 'leapDay', '2024-02-29T23:59:59.999Z')
    await uploadAt(context, link, 'leapDay', '2024-03-01T00:00:00.000Z')
    await recountDays(context)
    const days = async () =>
      (await stats.days('2024-03-15', 30)).map(({ key, uploads }) => ({ key, uploads }))
    const expected = [
      { key: '2024-03-15', uploads: 1 },
      { key: '2024-03-14', uploads: 1 },
      { key: '2024-03-01', uploads: 1 },
      { key: '2024-02-29', uploads: 2 },
      { key: '2024-02-15', uploads: 1 },
    ]
    t.strictSame(await days(), expected)

    // A file that is not an image is subtracted from the days of its uploads.
    await sql`update images set due_at = now() + interval '1 hour' where hash <> ${hashOf('leapDay')}`
    await imageLeases.settle(await leaseOne(), { status: 'rejected', failure: 'no image' })
    t.strictSame(
      await days(),
      expected.filter(({ key }) => !['2024-03-01', '2024-02-29'].includes(key)),
    )
    t.strictSame(await countDrift(store), [])
  })

  t.test('counts equal a recount after each kind of change', async (t) => {
    const random = seeded(2026)
    const happen = await happenings(context, random)
    for (let n = 0; n < (tier === 'default' ? 120 : 300); n++) {
      await happen()
      if (n % 20 === 0) t.strictSame(await countDrift(store), [], `after ${n}`)
    }
    t.strictSame(await countDrift(store), [])
  })

  t.test('counts equal a recount after concurrent changes, and readers see no error', async (t) => {
    const happen = await happenings(context, seeded(1815))
    let busy = true
    const reading = atOnce(2, async () => {
      while (busy) {
        const { items } = await images.page({ limit: 5 })
        if (items[0]) await images.find(items[0].id)
        const page = await links.page({ limit: 5 })
        if (page.items[0]) await links.findWithCounts(page.items[0].id)
        if (page.items[0]) await uploads.pageOfLink(page.items[0].id, { limit: 5 })
        await imageLeases.waiting()
        await createStats(store).read()
        const negative = await retry(
          () => sql`
            select kind, key from upload_counts group by kind, key having sum(uploads) < 0 or sum(bytes) < 0`,
        )
        if (negative.count > 0) t.fail('a count is negative')
      }
    })
    await atOnce(8, async () => {
      for (let n = 0; n < (tier === 'default' ? 15 : 40); n++) await happen()
    }).finally(() => {
      busy = false
    })
    await reading
    t.strictSame(await countDrift(store), [])
  })
}

const manyModels = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`Model ${String.fromCharCode(97 + n)}`, 1]))

/** Records an upload of a pending image and dates it back; `recountDays` is to follow. */
async function uploadAt({ sql, record }: Context, link: LinkRow, content: string, time: string) {
  const id = await record(link, content, newImage('pending'))
  await sql`
  update uploads set received_at = ${new Date(time)}
  where id = (select id from uploads where image_id = ${id} order by received_at desc limit 1)`
}

const recountDays = ({ sql }: Context) =>
  sql.begin(async (sql) => {
    await sql`delete from upload_counts where kind = 'day'`
    await sql`
    insert into upload_counts (kind, key, shard, uploads, bytes)
    select 'day', to_char(uploads.received_at at time zone 'UTC', 'YYYY-MM-DD'), 0, count(*), sum(size)
    from uploads join images on images.id = image_id group by 2`
  })

/** Sets the stage for all that can happen to uploads and returns what lets the next thing happen. */
async function happenings(context: Context, random: Random) {
  const { sql, insertLink, uploads, images, imageLeases, leaseOne } = context
  const some = [
    await insertLink(),
    await insertLink({ maxImages: 1000 }),
    await insertLink({ maxBytes: 100_000 }),
  ]
  for (let n = 0; n < 20; n++) {
    const day = random.pick(['2026-01-31', '2026-02-01', '2026-02-02'])
    await uploadAt(
      context,
      random.pick(some),
      `old ${n % 12}`,
      `${day}T${random.pick(['00:00:00.000', '23:59:59.999'])}Z`,
    )
  }
  await recountDays(context)
  const contents = Array.from({ length: 12 }, (_, n) => `old ${n}`)
  const metadata = () => ({
    format: random.pick(['JPEG', 'PNG', 'WebP']),
    mediaType: 'image/any',
    ...(random.next() < 0.5 && { cameraModel: random.pick(['Box 1', 'Box 2']) }),
  })
  const imageOf = async (content: string) =>
    (await retry(() => sql<{ id: string }[]>`select id from images where hash = ${hashOf(content)}`)).map(
      ({ id }) => id,
    )
  const settleWith = (verdict: Verdict) => async () => {
    const lease = await leaseOne()
    if (lease) await imageLeases.settle(lease, verdict)
  }
  return () => {
    const link = random.pick(some)
    const known = random.pick(contents)
    const dice = random.next()
    if (dice < 0.3) {
      const content = `new ${contents.length}`
      contents.push(content)
      const image = {
        id: newId(),
        status: random.pick(['ready', 'pending'] as const),
        metadata: metadata(),
      }
      return uploads.record(part(link, content), image)
    }
    if (dice < 0.4) return uploads.record(part(link, known), newImage(random.pick(['ready', 'pending'])))
    if (dice < 0.55) return uploads.recordKnown(part(link, known))
    if (dice < 0.7) return settleWith({ status: 'ready', metadata: metadata() })()
    if (dice < 0.8)
      return settleWith({ status: random.pick(['rejected', 'failed', 'corrupt']), failure: 'why' })()
    if (dice < 0.85) return leaseOne(1)
    if (dice < 0.9) return imageOf(known).then((found) => imageLeases.requeue({ ids: found, limit: 20 }))
    return imageOf(known).then((found) => Promise.all(found.map(images.remove)))
  }
}
