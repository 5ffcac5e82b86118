import type { Test } from 'tap'
import { newId } from '../../../../services/ids.ts'
import type { ImageSearch } from '../../../../stores/data/interfaces/images.ts'
import type { NewImage } from '../../../../stores/data/interfaces/uploads.ts'
import { allPages, atOnce, type Context, countOf, ids, newImage, part } from './context.ts'

/** What a data store does with images. */
export function testImages(
  t: Test,
  { sql, links, uploads, images, imageLeases, insertLink, record, store }: Context,
) {
  t.test('pages have each image once, for every filter', async (t) => {
    const link = await insertLink()
    const formats = ['JPEG', 'PNG', 'WebP']
    const models = [undefined, 'Box 1', 'Box 1 ']
    await atOnce(60, (n) =>
      record(
        link,
        `${n}`,
        newImage(n % 4 ? 'ready' : 'pending', {
          format: formats[n % 3]!,
          ...(models[n % 5] && { cameraModel: models[n % 5]! }),
        }),
      ),
    )
    await sql`update images set received_at = date_trunc('hour', received_at) + mod(ascii(id), 3) * interval '1 second'`
    await sql`update images set received_at = received_at + interval '1 second' where format = 'PNG'`
    const expected = await sql<{ id: string; status: string; format: string; cameraModel: string | null }[]>`
    select id, status, format, camera_model from images order by received_at desc, id desc`
    const filters: ImageSearch[] = [
      {},
      { format: 'PNG' },
      { status: 'pending' },
      { cameraModel: 'Box 1' },
      { format: 'JPEG', status: 'ready', cameraModel: 'Box 1 ' },
      { status: 'removed' },
      { format: "PNG' or true --" },
    ]
    for (const filter of filters) {
      const matching = expected.filter((row) =>
        Object.entries(filter).every(([field, value]) => row[field as keyof typeof row] === value),
      )
      const pages = await allPages((request) => images.page({ ...request, search: filter }), 7)
      t.strictSame(ids(pages.flat()), ids(matching), JSON.stringify(filter))
      t.equal(pages.length, Math.max(1, Math.ceil(matching.length / 7)))
    }
  })

  t.test('an image is removed once', async (t) => {
    const id = await record(await insertLink(), 'a')
    const removed = await atOnce(10, () => images.remove(id))
    t.equal(countOf(removed, Boolean), 1)
    t.match(await images.find(id), { status: 'removed', removedAt: Date })
    t.equal(await images.remove('nothing'), false)
  })

  t.test(
    'removal erases location, camera, times, placeholder, hash and file names; counts stay',
    async (t) => {
      const link = await insertLink()
      const personal = {
        cameraMake: 'Acme',
        cameraModel: 'Box 1',
        lens: '50 mm',
        takenAt: '2026-11-01T12:00:00',
        takenOffset: '+02:00',
        latitude: 52.5,
        longitude: 13.4,
        altitude: 34,
        placeholder: 'AAAA',
      }
      const described = (format = 'JPEG') => ({
        id: newId(),
        status: 'ready' as const,
        metadata: { format, mediaType: 'image/jpeg', width: 3, height: 2, ...personal },
      })
      const upload = async (content: string, image: NewImage = described()) => {
        await uploads.record(part(link, content, { name: 'Ada at home.jpg' }), image)
        return image.id
      }
      const old = { milliseconds: 60_000, limit: 10 }
      const removals: Record<string, (id: string) => Promise<unknown>> = {
        'by the admin': (id) => images.remove(id),
        'because nobody accessed it': async (id) => {
          await sql`update images set last_accessed_at = now() - interval '1 hour' where id = ${id}`
          await sql`update uploads set received_at = now() - interval '1 hour' where image_id = ${id}`
          return store.lifecycle.removeNotAccessed(old)
        },
        'because it is corrupt': async (id) => {
          await sql`
          update images set status = 'corrupt', due_at = null, settled_at = now() - interval '1 hour'
          where id = ${id}`
          return store.lifecycle.removeCorrupt(old)
        },
        'because it is not an image': async (id) => {
          const lease = await imageLeases.leaseOne({ imageId: id, token: newId(), milliseconds: 60_000 })
          return imageLeases.settle(lease!, { status: 'rejected', failure: 'no image' })
        },
      }
      for (const [how, remove] of Object.entries(removals)) {
        const id = await upload(how)
        t.match(await images.find(id), personal, how)
        await remove(id)
        const removed = (await images.find(id))!
        t.match(removed, { id, size: 10, format: 'JPEG', width: 3, removedAt: Date }, how)
        const erased = Object.fromEntries(Object.keys(personal).map((field) => [field, null]))
        t.match(removed, { ...erased, hash: '' }, how)
      }
      const { items } = await uploads.pageOfLink(link.id, { limit: 10 })
      t.strictSame(
        items.map(({ name }) => name),
        Array(4).fill(''),
      )
      t.match(await links.findWithCounts(link.id), { uploads: 4 })
      const text =
        JSON.stringify(await sql`select * from images`) + JSON.stringify(await sql`select * from uploads`)
      t.notMatch(text, /Acme|Box 1|Ada|50 mm|AAAA|2026-11-01T12/, 'nothing of it is left in any column')
      t.equal(await images.find('nothing'), undefined)
    },
  )
}
