import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { readConfig } from '../../../config.ts'
import { newId } from '../../../services/ids.ts'
import { createStats } from '../../../services/stats.ts'
import type { DataStore } from '../../../stores/data/data-store.ts'
import { openDataStore } from '../../../stores/data/index.ts'
import type { Verdict } from '../../../stores/data/interfaces/image-leases.ts'
import type { ImageSearch } from '../../../stores/data/interfaces/images.ts'
import type { LinkRow } from '../../../stores/data/interfaces/links.ts'
import {
  isRefusal,
  type NewImage,
  type Received,
  type RecordedUpload,
} from '../../../stores/data/interfaces/uploads.ts'
import type { PageOf, PageRequest } from '../../../stores/data/keyset.ts'
import { retry } from '../../../stores/data/retry.ts'
import { eachDatabase } from '../../helpers/databases.ts'
import { dataDirWithLentDatabase } from '../../helpers/embedded.ts'
import { newFolder } from '../../helpers/folder.ts'
import { newLink } from '../../helpers/links.ts'
import { type Random, seeded } from '../../helpers/random.ts'

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex')
const atOnce = <T>(count: number, work: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)))
const countOf = <T>(items: T[], is: (item: T) => boolean) => items.filter(is).length

eachDatabase(
  async (t, env) => {
    if (env.DATABASE_URL) await setUnusually(env.DATABASE_URL)
    const DATA_DIR = env.DATABASE_URL ? newFolder(t) : await dataDirWithLentDatabase(t)
    const store = await openDataStore(readConfig({ DATA_DIR, ...env }), { attach: true })
    const { sql, links, uploads, images, imageLeases, stats } = store
    t.teardown(() => store.close())
    await rememberCameras(store)
    t.beforeEach(() => sql`truncate links, images, uploads, upload_counts, removed_cameras`)

    const insertLink = (limits: Partial<Pick<LinkRow, 'maxImages' | 'maxBytes' | 'expiresAt'>> = {}) =>
      links.insert(newLink(limits))
    const part = (
      link: LinkRow,
      content: string,
      { name = '', size = content.startsWith('new') ? 10 * content.length : 10 } = {},
    ): Received => ({
      link,
      startedAt: new Date(),
      name,
      hash: hashOf(content),
      size,
    })
    const newImage = (
      status: NewImage['status'] = 'ready',
      { format = 'JPEG', cameraModel }: { format?: string; cameraModel?: string } = {},
    ): NewImage => ({
      id: newId(),
      status,
      metadata: { format, mediaType: `image/${format.toLowerCase()}`, ...(cameraModel && { cameraModel }) },
    })
    /** Records a part and returns the id of its image. */
    async function record(link: LinkRow, content: string, image = newImage()) {
      const recorded = await uploads.record(part(link, content), image)
      if (isRefusal(recorded)) throw new Error(recorded)
      return recorded.id
    }
    const leaseOne = async (milliseconds = 60_000) => {
      // A ready image waits too, to be verified. Here each has been.
      await retry(() => sql`update images set due_at = null where status = 'ready'`)
      return (await imageLeases.lease({ token: newId(), limit: 1, milliseconds }))[0]!
    }

    t.test('concurrent processes create one installation id', async (t) => {
      const { installation } = store
      t.equal(await installation.read(), undefined)
      const created = await atOnce(8, (n) => installation.create(`id ${n}`))
      t.equal(new Set(created).size, 1)
      t.equal(await installation.read(), created[0])
      t.equal(await installation.create('another'), created[0])
    })

    t.test('links', async (t) => {
      t.test('an inserted link is found', async (t) => {
        const link = {
          id: newId(),
          label: "Ada's 🎂; drop table links",
          region: 'eu',
          maxImages: 1,
          maxBytes: Number.MAX_SAFE_INTEGER,
          expiresAt: new Date('9999-12-31T23:59:59.999Z'),
        }
        const row = await links.insert(link)
        t.match(row, { ...link, usedImages: 0, usedBytes: 0, revokedAt: null })
        t.ok(Math.abs(row.createdAt.getTime() - Date.now()) < 60_000)
        t.strictSame(await links.find(link.id), row)
        t.strictSame(await links.findWithCounts(link.id), { ...row, uploads: 0, bytes: 0 })
        await t.rejects(links.insert(link), { code: '23505' }, 'an id is inserted once')
      })

      t.test('an unknown link is not found', async (t) => {
        t.equal(await links.find('nothing'), undefined)
        t.equal(await links.findWithCounts('nothing'), undefined)
        t.equal(await links.revoke('nothing'), false)
        t.strictSame(await links.page({ limit: 10 }), { items: [] })
      })

      t.test('a second revoke changes nothing', async (t) => {
        const { id } = await insertLink()
        t.equal(await links.revoke(id), true)
        const { revokedAt } = (await links.find(id))!
        t.ok(revokedAt)
        await sleep(5)
        t.equal(await links.revoke(id), true)
        t.strictSame((await links.find(id))!.revokedAt, revokedAt)
      })

      t.test('pages have each link once, newest first, also with equal times', async (t) => {
        await atOnce(23, () => insertLink())
        await sql`update links set created_at = '2026-11-01T12:00:00Z'::timestamptz`
        await sql`
        update links set created_at = created_at + interval '1 millisecond'
        where id in (select id from links order by id limit 9)`
        const expected = await sql<{ id: string }[]>`select id from links order by created_at desc, id desc`
        for (const limit of [1, 5, 22, 23, 24]) {
          const pages = await allPages((request) => links.page(request), limit)
          t.strictSame(ids(pages.flat()), ids(expected), `pages of ${limit}`)
          t.equal(pages.length, Math.ceil(23 / limit))
        }
      })

      t.test('a link that is added between two pages does not change the second page', async (t) => {
        await atOnce(4, () => insertLink())
        const all = ids((await links.page({ limit: 10 })).items)
        const first = await links.page({ limit: 2 })
        await sleep(5)
        await insertLink()
        const second = await links.page({ limit: 2, after: first.next })
        t.strictSame(ids([...first.items, ...second.items]), all)
        t.equal(second.next, undefined)
      })
    })

    t.test('uploads', async (t) => {
      t.test('a part becomes an image, or an upload of the known one', async (t) => {
        const link = await insertLink()
        const image = newImage('ready', { cameraModel: 'Box 1' })
        t.equal(await uploads.recordKnown(part(link, 'a')), undefined, 'not known yet')
        const recorded = await uploads.record(part(link, 'a', { name: 'a.jpg' }), image)
        t.match(recorded, { id: image.id, status: 'ready', duplicate: false })
        t.match(await images.find(image.id), {
          id: image.id,
          hash: hashOf('a'),
          size: 10,
          status: 'ready',
          ...image.metadata,
          width: null,
          removedAt: null,
        })
        const known = { id: image.id, status: 'ready', duplicate: true }
        await sleep(5) // the times of the two uploads are to differ
        t.match(await uploads.record(part(link, 'a', { name: 'b.png' }), newImage('pending')), known)
        t.match(await uploads.recordKnown(part(await insertLink(), 'a')), known, 'by another link too')
        t.equal((await images.page({ limit: 10 })).items.length, 1)

        const { items } = await uploads.pageOfLink(link.id, { limit: 10 })
        t.strictSame(
          items.map(({ imageId, name, size, duplicate, status }) => ({
            imageId,
            name,
            size,
            duplicate,
            status,
          })),
          [
            { imageId: image.id, name: 'b.png', size: 10, duplicate: true, status: 'ready' },
            { imageId: image.id, name: 'a.jpg', size: 10, duplicate: false, status: 'ready' },
          ],
        )
      })

      t.test('all metadata is stored', async (t) => {
        const metadata = {
          format: 'JPEG',
          mediaType: 'image/jpeg',
          width: 6000,
          height: 4000,
          orientation: 8,
          cameraMake: 'Acme',
          cameraModel: 'Kamera “Ü” 👁',
          takenAt: '2026-11-01T12:00:00',
          takenOffset: '+02:00',
          latitude: -33.856784357,
          longitude: 151.215296,
          altitude: 0,
        }
        const id = await record(await insertLink(), 'a', { id: newId(), status: 'ready', metadata })
        t.match(await images.find(id), metadata)

        // By a link with a limit it is another way into the database.
        const answers = await Promise.all([
          uploads.recordKnown(part(await insertLink(), 'a')),
          uploads.record(part(await insertLink(), 'b'), { id: newId(), status: 'ready', metadata }),
          uploads.record(part(await insertLink({ maxBytes: 10 }), 'c'), {
            id: newId(),
            status: 'ready',
            metadata,
          }),
        ])
        const told = answers.map((answer) => (answer as RecordedUpload).metadata)
        t.match(told[0], metadata)
        t.strictSame({ ...told[1] }, { ...told[0] })
        t.strictSame({ ...told[2] }, { ...told[0] })
      })

      t.test('concurrent equal parts by links with and without a limit become one image', async (t) => {
        const free = await insertLink()
        const limited = await insertLink({ maxImages: 10 })
        const recorded = await atOnce(60, (n) =>
          uploads.record(
            part(n % 2 ? limited : free, `${n >> 4}`),
            newImage('ready', { cameraModel: 'Box 1' }),
          ),
        )
        t.equal(
          countOf(recorded, (one) => one === 'link_used_up'),
          20,
        )
        t.equal(
          countOf(recorded, (one) => !isRefusal(one) && !one.duplicate),
          4,
        )
        t.equal((await images.page({ limit: 10 })).items.length, 4)
        t.match(await links.findWithCounts(free.id), { uploads: 30, usedImages: 0 })
        t.match(await links.findWithCounts(limited.id), { uploads: 10, usedImages: 10 })
        t.strictSame(await countDrift(store), [])
      })

      t.test('a hundred concurrent equal parts become one image', async (t) => {
        const link = await insertLink()
        const recorded = await atOnce(100, () => uploads.record(part(link, 'same'), newImage('pending')))
        t.equal(new Set(recorded.map((one) => !isRefusal(one) && one.id)).size, 1)
        t.equal(
          countOf(recorded, (one) => !isRefusal(one) && !one.duplicate),
          1,
        )
        t.equal((await images.page({ limit: 10 })).items.length, 1)
        t.match(await links.findWithCounts(link.id), { uploads: 100, bytes: 1000 })
        t.strictSame(await countDrift(store), [])
      })

      t.test('a link accepts as many images as its limit, including duplicates', async (t) => {
        const link = await insertLink({ maxImages: 20 })
        await record(await insertLink(), 'known')
        const recorded = await atOnce(50, (n) =>
          n % 2 ? uploads.record(part(link, `${n}`), newImage()) : uploads.recordKnown(part(link, 'known')),
        )
        t.equal(
          countOf(recorded, (one) => one === 'link_used_up'),
          30,
        )
        t.match(await links.findWithCounts(link.id), {
          usedImages: 20,
          usedBytes: 200,
          uploads: 20,
          bytes: 200,
        })
        t.strictSame(await countDrift(store), [])
      })

      t.test('a link accepts as many bytes as its limit', async (t) => {
        const link = await insertLink({ maxBytes: 209 })
        const recorded = await atOnce(50, (n) => uploads.record(part(link, `${n}`), newImage()))
        t.equal(
          countOf(recorded, (one) => one === 'link_used_up'),
          30,
        )
        t.equal(await uploads.record(part(link, 'last', { size: 10 }), newImage()), 'link_used_up')
        t.not(await uploads.record(part(link, 'last', { size: 9 }), newImage()), 'link_used_up')
        t.match(await links.findWithCounts(link.id), {
          usedImages: 21,
          usedBytes: 209,
          uploads: 21,
          bytes: 209,
        })
      })

      t.test('the first limit of a link counts also the parts that began before it', async (t) => {
        const link = await insertLink()
        await record(link, 'known')
        await links.update(link.id, { maxImages: 20 })
        const recorded = await atOnce(50, (n) =>
          n % 2 ? uploads.record(part(link, `${n}`), newImage()) : uploads.recordKnown(part(link, 'known')),
        )
        t.equal(
          countOf(recorded, (one) => one === 'link_used_up'),
          31,
        )
        t.match(await links.findWithCounts(link.id), { usedImages: 20, uploads: 20 })
        t.strictSame(await countDrift(store), [])
      })

      t.test('a link that is revoked during uploads accepts no later part', async (t) => {
        const link = await insertLink({ maxImages: 1000 })
        const recording = atOnce(30, (n) => uploads.record(part(link, `${n}`), newImage()))
        t.strictSame(await atOnce(5, () => links.revoke(link.id)), Array(5).fill(true))
        const recorded = countOf(await recording, (one) => !isRefusal(one))
        t.equal((await links.find(link.id))!.usedImages, recorded)
        t.match(await links.findWithCounts(link.id), { uploads: recorded })
      })

      t.test('a link accepts nothing after it is revoked, with and without limits', async (t) => {
        await record(await insertLink(), 'known')
        for (const link of [await insertLink(), await insertLink({ maxImages: 10 })]) {
          t.not(isRefusal(await uploads.record(part(link, newId()), newImage())), true)
          await links.revoke(link.id)
          const outcomes = await Promise.all([
            uploads.record(part(link, newId()), newImage()),
            uploads.record(part(link, 'known'), newImage()),
            uploads.recordKnown(part(link, 'known')),
          ])
          t.strictSame(outcomes, Array(3).fill('link_revoked'))
          t.match(await links.findWithCounts(link.id), { uploads: 1 })
        }
        t.strictSame(await countDrift(store), [])
      })

      t.test('a link accepts a file that began before it expired, and none that began later', async (t) => {
        await record(await insertLink(), 'known')
        const expiresAt = new Date(Date.now() - 60_000)
        const inTime = new Date(expiresAt.getTime() - 1)
        for (const link of [
          await insertLink({ expiresAt }),
          await insertLink({ expiresAt, maxImages: 10 }),
        ]) {
          const late = (content: string) => ({ ...part(link, content), startedAt: expiresAt })
          const outcomes = await Promise.all([
            uploads.record(late(newId()), newImage()),
            uploads.record(late('known'), newImage()),
            uploads.recordKnown(late('known')),
          ])
          t.strictSame(outcomes, Array(3).fill('link_expired'))
          t.match(await uploads.record({ ...part(link, newId()), startedAt: inTime }, newImage()), {
            duplicate: false,
          })
          t.match(await uploads.recordKnown({ ...part(link, 'known'), startedAt: inTime }), {
            duplicate: true,
          })
          t.match(await links.findWithCounts(link.id), { uploads: 2 })
        }
        t.strictSame(await countDrift(store), [])
      })

      t.test('concurrent files by open and closed links get separate outcomes', async (t) => {
        const [open, revoked] = [await insertLink(), await insertLink()]
        await links.revoke(revoked.id)
        const outcomes = await atOnce(40, (n) =>
          uploads.record(part(n % 2 ? open : revoked, `${n >> 2}`), newImage()),
        )
        t.equal(
          countOf(outcomes, (one) => one === 'link_revoked'),
          20,
        )
        t.equal(
          countOf(outcomes, (one) => !isRefusal(one) && !one.duplicate),
          10,
        )
        t.match(await links.findWithCounts(open.id), { uploads: 20 })
        t.match(await links.findWithCounts(revoked.id), { uploads: 0 })
        t.strictSame(await countDrift(store), [])
      })

      t.test('a failed upload does not count for the limits of its link', async (t) => {
        const link = await insertLink({ maxImages: 1 })
        await t.rejects(uploads.record(part(link, 'a', { name: 'no \0 text' }), newImage()))
        t.equal((await links.find(link.id))!.usedImages, 0)
        t.equal((await images.page({ limit: 1 })).items.length, 0)
        t.strictSame(await countDrift(store), [])
      })

      t.test('of concurrent parts, only the one that the database refuses fails', async (t) => {
        const link = await insertLink()
        const names = Array.from({ length: 40 }, (_, n) => (n % 10 === 5 ? 'no \0 text' : `${n}`))
        const outcomes = await Promise.allSettled(
          names.map((name, n) => uploads.record(part(link, `${n}`, { name }), newImage())),
        )
        t.strictSame(
          outcomes.map(({ status }) => status),
          names.map((name) => (name.includes('\0') ? 'rejected' : 'fulfilled')),
        )
        t.match(await links.findWithCounts(link.id), { uploads: 36 })
        t.strictSame(await countDrift(store), [])
      })

      t.test('content that was removed or rejected is new again, and failed content is known', async (t) => {
        const link = await insertLink()
        const removed = await record(link, 'removed')
        t.equal(await images.remove(removed), true)
        const rejected = await record(link, 'rejected', newImage('pending'))
        await imageLeases.settle(await leaseOne(), { status: 'rejected', failure: 'no image' })
        const failed = await record(link, 'failed', newImage('pending'))
        await imageLeases.settle(await leaseOne(), { status: 'failed', failure: 'it crashes' })

        for (const [content, id] of Object.entries({ removed, rejected })) {
          t.equal(await uploads.recordKnown(part(link, content)), undefined)
          const image = newImage()
          t.match(await uploads.record(part(link, content), image), {
            id: image.id,
            status: 'ready',
            duplicate: false,
          })
          t.ok((await images.find(id))!.removedAt, 'the old row stays as it is')
        }
        const known = { id: failed, status: 'failed', duplicate: true }
        t.match(await uploads.recordKnown(part(link, 'failed')), known)
        t.match(await uploads.record(part(link, 'failed'), newImage()), known)
        t.strictSame(await countDrift(store), [])
      })

      t.test('the uploads by a link have pages', async (t) => {
        const link = await insertLink()
        await atOnce(17, (n) => uploads.record(part(link, `${n % 5}`, { name: `${n}` }), newImage()))
        await record(await insertLink(), 'by another link')
        await sql`
        update uploads set received_at = date_trunc('second', received_at) + (random() * 3)::int * interval '1 second'`
        const expected = await sql<{ id: string }[]>`
        select id from uploads where link_id = ${link.id} order by received_at desc, id desc`
        const pages = await allPages((request) => uploads.pageOfLink(link.id, request), 4)
        t.equal(pages.length, 5)
        t.strictSame(ids(pages.flat()), ids(expected))
        t.strictSame(await uploads.pageOfLink('nothing', { limit: 4 }), { items: [] })
      })
    })

    t.test('images', async (t) => {
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
        const expected = await sql<
          { id: string; status: string; format: string; cameraModel: string | null }[]
        >`
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
    })

    t.test('the authoritative queue', async (t) => {
      t.test('two workers never get the same image', async (t) => {
        const link = await insertLink()
        await atOnce(200, (n) => record(link, `${n}`, newImage('pending', { format: 'TIFF' })))
        t.equal(await imageLeases.waiting(), 200)
        const leased = await atOnce(8, async (worker) => {
          const limit = 1 + (worker % 3)
          const mine = []
          for (;;) {
            const leases = await imageLeases.lease({ token: `worker ${worker}`, limit, milliseconds: 60_000 })
            if (leases.length === 0) return mine
            if (leases.length > limit) t.fail(`${leases.length} leases instead of ${limit}`)
            mine.push(...leases)
          }
        })
        const all = leased.flat()
        t.equal(all.length, 200)
        t.equal(new Set(all.map(({ imageId }) => imageId)).size, 200)
        t.ok(
          all.every(
            ({ attempt, format, mediaType }) =>
              attempt === 1 && `${format} ${mediaType}` === 'TIFF image/tiff',
          ),
        )
        t.equal(await imageLeases.waiting(), 200, 'what is leased is still pending')
      })

      t.test(
        'no more images are leased than requested, also with a wrong row estimate of the planner',
        async (t) => {
          const link = await insertLink()
          await record(link, 'first', newImage('pending'))
          await sql`analyze images`
          await atOnce(19, (n) => record(link, `${n}`, newImage('pending')))
          for (const limit of [1, 3]) {
            t.equal((await imageLeases.lease({ token: 'a', limit, milliseconds: 60_000 })).length, limit)
          }
        },
      )

      t.test('only images that wait and are due are leased, the longest overdue first', async (t) => {
        const link = await insertLink()
        await record(link, 'ready')
        await images.remove(await record(link, 'removed', newImage('pending')))
        t.equal(await leaseOne(), undefined)
        const [late, early] = [
          await record(link, 'late', newImage('pending')),
          await record(link, 'early', newImage('pending')),
        ]
        await sql`update images set due_at = due_at - interval '1 hour' where id = ${early}`
        t.equal((await leaseOne()).imageId, early)
        t.equal((await leaseOne()).imageId, late)
        t.equal(await leaseOne(), undefined)
      })

      t.test(
        'after a lease expires, another worker gets the image, and the first verdict is ignored',
        async (t) => {
          const id = await record(await insertLink(), 'a', newImage('pending', { format: 'PNG' }))
          const first = await leaseOne(60_000)
          t.match(first, { imageId: id, attempt: 1 })
          t.equal(await leaseOne(), undefined, 'not before it has run out')
          await sql`update images set due_at = due_at - interval '1 minute'`
          const second = await leaseOne()
          t.match(second, { imageId: id, attempt: 1 }, 'a lease that expired is no attempt')

          t.equal(await imageLeases.settle(first, { status: 'rejected', failure: 'too late' }), false)
          await imageLeases.release(first, { milliseconds: 0, counts: 'attempt' })
          t.equal(await leaseOne(), undefined, 'it is not for the first to give back')
          const metadata = { format: 'APNG', mediaType: 'image/apng', width: 3, height: 2 }
          t.equal(await imageLeases.settle(second, { status: 'ready', metadata }), true)
          t.match(await images.find(id), { status: 'ready', failure: null, removedAt: null, ...metadata })
          t.equal(await imageLeases.settle(second, { status: 'failed', failure: 'again' }), false)
          t.equal(await imageLeases.waiting(), 0)
          t.match(await stats.top('format', 10), [{ key: 'APNG', uploads: 1 }])
        },
      )

      t.test('a released image is due again after its pause, and the attempt counts', async (t) => {
        const id = await record(await insertLink(), 'a', newImage('pending'))
        const lease = await leaseOne()
        const start = Date.now()
        await imageLeases.release(lease, { milliseconds: 200, failure: 'try again', counts: 'attempt' })
        t.match(await images.find(id), { status: 'pending', failure: 'try again' })
        let again = await leaseOne()
        while (!again) again = await leaseOne()
        t.ok(Date.now() - start >= 199, 'not before its time')
        t.match(again, { imageId: id, attempt: 2 })

        await imageLeases.release(again, { milliseconds: 0, counts: 'nothing' })
        const third = await leaseOne()
        t.match(third, { attempt: 2, delays: 0 }, 'it was not tried, so it does not count')
        await imageLeases.release(third, { milliseconds: 0, failure: 'no disk space', counts: 'delay' })
        t.match(await leaseOne(), { attempt: 2, delays: 1 }, 'a delay is not an attempt')
      })

      t.test('settled images are queued for a new analysis by id or by status', async (t) => {
        const link = await insertLink()
        const [failed, ready, waiting] = await Promise.all(
          ['failed', 'ready', 'waiting'].map((hash) => record(link, hash, newImage('pending'))),
        )
        await sql`update images set status = 'failed', due_at = null, attempts = 3 where id = ${failed!}`
        await sql`update images set status = 'ready', due_at = null where id = ${ready!}`
        t.strictSame(await imageLeases.requeue({ status: 'failed', limit: 10 }), [failed])
        t.strictSame(await imageLeases.requeue({ status: 'failed', limit: 10 }), [], 'once')
        t.strictSame(await imageLeases.requeue({ ids: [ready!, waiting!], limit: 10 }), [ready])
        t.equal(await imageLeases.waiting(), 3)
        t.match(await imageLeases.leaseOne({ imageId: failed!, token: 'x', milliseconds: 60_000 }), {
          attempt: 1,
          pending: false,
        })
      })

      t.test('an image that failed or is corrupt can be analysed again, and its counts follow', async (t) => {
        const link = await insertLink()
        const settleNext = async (verdict: Verdict) => imageLeases.settle((await leaseOne())!, verdict)
        const failure = 'it crashes'
        const failed = await record(link, 'failed', newImage('pending', { cameraModel: 'Box 1' }))
        await settleNext({ status: 'failed', failure })
        const corrupt = await record(link, 'corrupt', newImage('pending', { cameraModel: 'Box 1' }))
        await settleNext({ status: 'corrupt', failure })
        t.equal(await leaseOne(), undefined)

        t.strictSame(await imageLeases.requeue({ ids: [failed], limit: 1 }), [failed])
        t.match(await images.find(failed), { status: 'failed' }, 'the status stays until there is a verdict')
        t.match(await leaseOne(), { imageId: failed, pending: false, attempt: 1 })
        t.strictSame(await imageLeases.requeue({ ids: [failed], limit: 1 }), [], 'it waits already')
        await sql`update images set due_at = now() where due_at is not null`
        await settleNext({ status: 'ready', metadata: { format: 'PNG', mediaType: 'image/png' } })
        t.match(await images.find(failed), { status: 'ready', failure: null, format: 'PNG' })
        t.strictSame(await countDrift(store), [])

        await sql`update images set settled_at = now() - interval '8 days' where id = ${corrupt}`
        t.strictSame(await imageLeases.requeue({ ids: [corrupt], limit: 1 }), [corrupt])
        t.strictSame([...(await store.lifecycle.corrupt({ milliseconds: 60_000, limit: 1 }))], [])
        await settleNext({ status: 'ready', metadata: { format: 'GIF', mediaType: 'image/gif' } })
        t.match(await images.find(corrupt), { status: 'ready', format: 'GIF' })
        t.strictSame(await countDrift(store), [])

        await images.remove(corrupt)
        t.strictSame(
          await imageLeases.requeue({ ids: [corrupt, 'nothing'], limit: 2 }),
          [],
          'a removed image is not analysed',
        )
      })

      t.test('all images with a status can be analysed again, in batches', async (t) => {
        const link = await insertLink()
        const all = await atOnce(7, (n) => record(link, `${n}`, newImage('pending')))
        for (const _ of all)
          await imageLeases.settle((await leaseOne())!, { status: 'failed', failure: 'it crashes' })
        await record(link, 'ready')
        await sql`update images set due_at = null`
        const request = { status: 'failed' as const, limit: 3 }
        const batches = []
        for (let batch = ['']; batch.length > 0; batches.push(batch))
          batch = await imageLeases.requeue(request)
        t.strictSame(
          batches.map(({ length }) => length),
          [3, 3, 1, 0],
        )
        t.strictSame(batches.flat().sort(), all.sort())
        t.equal(await imageLeases.waiting(), 7)
      })

      t.test('an image that is removed during its lease stays removed', async (t) => {
        const id = await record(await insertLink(), 'a', newImage('pending'))
        const lease = await leaseOne()
        t.equal(await images.remove(id), true)
        const metadata = { format: 'PNG', mediaType: 'image/png' }
        t.equal(await imageLeases.settle(lease, { status: 'ready', metadata }), false)
        await imageLeases.release(lease, { milliseconds: 0, counts: 'attempt' })
        t.equal((await images.find(id))!.status, 'removed')
        t.equal(await leaseOne(), undefined)
      })
    })

    t.test('counts', async (t) => {
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
          uploadFrequency30Days: [
            { date: `${dayOf(upload!.receivedAt)}T00:00:00Z`, uploads: 32, bytes: 320 },
          ],
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
        for (const [content, time] of Object.entries(times)) await uploadAt(link, content, time)
        await uploadAt(link, 'leapDay', '2024-02-29T23:59:59.999Z')
        await uploadAt(link, 'leapDay', '2024-03-01T00:00:00.000Z')
        await recountDays()
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
        const happen = await happenings(random)
        for (let n = 0; n < 300; n++) {
          await happen()
          if (n % 20 === 0) t.strictSame(await countDrift(store), [], `after ${n}`)
        }
        t.strictSame(await countDrift(store), [])
      })

      t.test('counts equal a recount after concurrent changes, and readers see no error', async (t) => {
        const happen = await happenings(seeded(1815))
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
          for (let n = 0; n < 40; n++) await happen()
        }).finally(() => {
          busy = false
        })
        await reading
        t.strictSame(await countDrift(store), [])
      })
    })

    /** Records an upload of a pending image and dates it back; `recountDays` is to follow. */
    async function uploadAt(link: LinkRow, content: string, time: string) {
      const id = await record(link, content, newImage('pending'))
      await sql`
      update uploads set received_at = ${new Date(time)}
      where id = (select id from uploads where image_id = ${id} order by received_at desc limit 1)`
    }

    const recountDays = () =>
      sql.begin(async (sql) => {
        await sql`delete from upload_counts where kind = 'day'`
        await sql`
        insert into upload_counts (kind, key, shard, uploads, bytes)
        select 'day', to_char(uploads.received_at at time zone 'UTC', 'YYYY-MM-DD'), 0, count(*), sum(size)
        from uploads join images on images.id = image_id group by 2`
      })

    /** Sets the stage for all that can happen to uploads and returns what lets the next thing happen. */
    async function happenings(random: Random) {
      const some = [
        await insertLink(),
        await insertLink({ maxImages: 1000 }),
        await insertLink({ maxBytes: 100_000 }),
      ]
      for (let n = 0; n < 20; n++) {
        const day = random.pick(['2026-01-31', '2026-02-01', '2026-02-02'])
        await uploadAt(
          random.pick(some),
          `old ${n % 12}`,
          `${day}T${random.pick(['00:00:00.000', '23:59:59.999'])}Z`,
        )
      }
      await recountDays()
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
  },
  { serializable: true },
)

const ids = (items: readonly { id: string }[]) => items.map(({ id }) => id)
const dayOf = (time: Date) => time.toISOString().slice(0, 10)
const manyModels = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`Model ${String.fromCharCode(97 + n)}`, 1]))

/** Reads a list to its end. */
async function allPages<Row>(read: (request: PageRequest) => Promise<PageOf<Row>>, limit: number) {
  const pages: Row[][] = []
  let after: PageRequest['after']
  do {
    const page: PageOf<Row> = await read({ limit, after })
    pages.push(page.items)
    after = page.next
  } while (after)
  return pages
}

/** Keeps the camera models of removed images for `countDrift`: removal erases them from `images`. */
async function rememberCameras({ sql }: DataStore) {
  await sql`create table removed_cameras (image_id text primary key, camera_model text, status text)`
  await sql.unsafe(`
    create function remember_camera() returns trigger language plpgsql as $$ begin
      insert into removed_cameras values (old.id, old.camera_model, old.status) on conflict do nothing;
      return new;
    end $$`)
  await sql.unsafe(`
    create trigger remember_camera before update on images for each row
    when (old.removed_at is null and new.removed_at is not null) execute function remember_camera()`)
}

/** Where the roll-ups are not what a recount of the uploads gives. */
async function countDrift({ sql }: DataStore) {
  const uploads = await sql<
    {
      linkId: string
      receivedAt: Date
      status: string
      formerStatus: string | null
      format: string
      cameraModel: string | null
      size: number
    }[]
  >`
    select link_id, uploads.received_at, images.status, format, size,
      coalesce(removed_cameras.camera_model, images.camera_model) as camera_model,
      removed_cameras.status as former_status
    from uploads join images on images.id = image_id
      left join removed_cameras on removed_cameras.image_id = images.id`
  const counts = await sql<{ name: string; uploads: number; bytes: number }[]>`
    select kind || ' ' || key as name, sum(uploads)::bigint as uploads, sum(bytes)::bigint as bytes
    from upload_counts group by kind, key having sum(uploads) <> 0 or sum(bytes) <> 0`
  const images = await sql<{ location: string; size: number }[]>`
    select tier || ' ' || region as location, size from images where removed_at is null`

  const expected = new Map<string, { uploads: number; bytes: number }>()
  const add = (name: string, size: number) => {
    const { uploads, bytes } = expected.get(name) ?? { uploads: 0, bytes: 0 }
    expected.set(name, { uploads: uploads + 1, bytes: bytes + size })
  }
  for (const { linkId, receivedAt, status, formerStatus, format, cameraModel, size } of uploads) {
    add(`link ${linkId}`, size)
    if (status === 'rejected') continue
    add(`day ${dayOf(receivedAt)}`, size)
    if (status === 'pending' || status === 'corrupt' || formerStatus === 'corrupt') continue
    add(`format ${format}`, size)
    add(`model ${cameraModel ?? ''}`, size)
  }
  for (const { location, size } of images) add(`location ${location}`, size)
  const found = new Map(counts.map(({ name, uploads, bytes }) => [name, { uploads, bytes }]))
  return [...new Set([...expected.keys(), ...found.keys()])]
    .map((name) => ({ name, expected: expected.get(name), found: found.get(name) }))
    .filter(({ expected, found }) => expected?.uploads !== found?.uploads || expected?.bytes !== found?.bytes)
}

/** A server may be set up for another part of the world; nothing is to depend on it. */
async function setUnusually(url: string) {
  const sql = postgres(url, { max: 1 })
  const database = sql(new URL(url).pathname.slice(1))
  await sql`alter database ${database} set timezone = 'Pacific/Kiritimati'`
  await sql`alter database ${database} set datestyle = 'German'`
  await sql.end()
}
