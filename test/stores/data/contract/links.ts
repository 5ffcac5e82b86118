import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { newId } from '../../../../services/ids.ts'
import { allPages, atOnce, type Context, ids } from './context.ts'

/** What a data store does with links. */
export function testLinks(t: Test, { sql, links, insertLink }: Context) {
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
}
