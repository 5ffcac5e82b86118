import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { newId } from '../../../../services/ids.ts'
import { isRefusal, type RecordedUpload } from '../../../../stores/data/interfaces/uploads.ts'
import {
  allPages,
  atOnce,
  type Context,
  countDrift,
  countOf,
  hashOf,
  ids,
  newImage,
  part,
} from './context.ts'

/** How a data store records uploads. */
export function testUploads(
  t: Test,
  { sql, links, uploads, images, imageLeases, insertLink, record, leaseOne, store }: Context,
) {
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
      uploads.record(part(n % 2 ? limited : free, `${n >> 4}`), newImage('ready', { cameraModel: 'Box 1' })),
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
}

/** Which uploads a data store accepts by a link. */
export function testLimits(t: Test, { links, uploads, images, insertLink, record, store }: Context) {
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
    for (const link of [await insertLink({ expiresAt }), await insertLink({ expiresAt, maxImages: 10 })]) {
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
}
