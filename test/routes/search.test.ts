import { searchImages } from '../../stores/data/image-search.ts'
import type { ImageSearch } from '../../stores/data/interfaces/images.ts'
import type { Keyset } from '../../stores/data/keyset.ts'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { picture, TAGS, type Tags, tiff, withExif } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'

/** A place as Exif has it: whole degrees. */
const place = (latitude: number, longitude: number): Tags => ({
  1: latitude < 0 ? 'S' : 'N',
  2: [
    [Math.abs(latitude), 1],
    [0, 1],
    [0, 1],
  ],
  3: longitude < 0 ? 'W' : 'E',
  4: [
    [Math.abs(longitude), 1],
    [0, 1],
    [0, 1],
  ],
})

let width = 10

/** A photograph that is like no other. */
async function photo(model: string, taken: string, latitude: number, longitude: number) {
  const tags = { ...TAGS, 272: model, 34665: { 36867: taken }, 34853: place(latitude, longitude) }
  return withExif(await picture(width++, 20).jpeg().toBuffer(), Buffer.from(tiff(tags)))
}

async function search(app: App, query: Record<string, string>) {
  const answer = await app.inject({ url: '/admin/images', query, headers: admin })
  return { status: answer.statusCode, ...answer.json() }
}

eachDatabase(async (t, env) => {
  const app = await build(t, env)
  const upload = async (url: string, body: Buffer): Promise<string> => {
    const answer = await app.inject({ method: 'POST', url, ...multipart([{ body }]) })
    return answer.json().processed[0].id
  }
  const link = await makeLink(app)
  const other = await makeLink(app)
  const bern = await upload(link, await photo('Box 1', '2020:05:01 10:00:00', 47, 7))
  const fiji = await upload(link, await photo('Box 2', '2021:05:01 10:00:00', -18, 178))
  const samoa = await upload(other, await photo('Box 2', '2021:05:01 10:30:00', -14, -172))
  const png = await upload(other, await makeImage('png'))
  const names = new Map([
    [bern, 'bern'],
    [fiji, 'fiji'],
    [samoa, 'samoa'],
    [png, 'png'],
  ])
  const linkId = (path: string) => path.replace('/uploads/', '')

  await t.test('each filter and each combination finds the matching images', async (t) => {
    for (const [query, expected] of [
      [{}, ['png', 'samoa', 'fiji', 'bern']],
      [{ format: 'PNG' }, ['png']],
      [{ status: 'ready' }, ['png', 'samoa', 'fiji', 'bern']],
      [{ status: 'corrupt' }, []],
      [{ cameraModel: 'Box 2' }, ['samoa', 'fiji']],
      [{ cameraModel: "'; drop table images; --" }, []],
      [{ takenFrom: '2021-05-01T10:30:00' }, ['samoa']],
      [{ takenTo: '2021-05-01T10:30:00' }, ['fiji', 'bern']],
      [{ takenFrom: '2021-05-01', takenTo: '2021-05-02' }, ['samoa', 'fiji']],
      [{ takenTo: '2021-05-01' }, ['bern']],
      [{ receivedFrom: '2020-01-01T00:00:00Z' }, ['png', 'samoa', 'fiji', 'bern']],
      [{ receivedTo: '2020-01-01T00:00:00Z' }, []],
      [{ receivedFrom: '2999-01-01T00:00:00+02:00' }, []],
      [{ link: linkId(link) }, ['fiji', 'bern']],
      [{ link: linkId(other), cameraModel: 'Box 2' }, ['samoa']],
      [{ link: 'x'.repeat(48) }, []],
      [{ bbox: '5,45,10,48' }, ['bern']],
      [{ bbox: '7,47,7,47' }, ['bern']],
      [{ bbox: '7.5,45,10,48' }, []],
      [{ bbox: '-180,-90,180,90' }, ['samoa', 'fiji', 'bern']],
      [{ bbox: '170,-30,-170,0' }, ['samoa', 'fiji']],
      [{ bbox: '170,-30,-170,0', takenTo: '2021-05-01T10:10:00' }, ['fiji']],
    ] as [Record<string, string>, string[]][]) {
      const { items } = await search(app, query)
      t.strictSame(
        items?.map(({ id }: { id: string }) => names.get(id)),
        expected,
        JSON.stringify(query),
      )
    }
  })

  await t.test('a duplicate is found by each of its links', async (t) => {
    const body = await makeImage('webp')
    const id = await upload(link, body)
    t.equal(await upload(other, body), id)
    for (const path of [link, other]) {
      const { items } = await search(app, { link: linkId(path), format: 'WebP' })
      t.strictSame(items.length, 1)
    }
  })

  await t.test('all pages of a search have only its results', async (t) => {
    const first = await search(app, { cameraModel: 'Box 2', limit: '1' })
    t.equal(names.get(first.items[0].id), 'samoa')
    const second = await search(app, { cameraModel: 'Box 2', limit: '1', cursor: first.nextCursor })
    t.equal(names.get(second.items[0].id), 'fiji')
    t.equal(second.nextCursor, undefined)
  })

  await t.test('an impossible filter is refused with the reason', async (t) => {
    for (const [query, detail] of [
      [{ bbox: '5,48,10,45' }, /south \(48\) must not be greater than north \(45\)/],
      [{ bbox: '5,-91,10,45' }, /south and north must be from -90 to 90/],
      [{ bbox: '181,0,10,45' }, /west and east must be from -180 to 180/],
      [{ bbox: '5,45,10' }, /bbox/],
      [{ bbox: 'NaN,1,2,3' }, /bbox/],
      [{ bbox: '1e3,1,2,3' }, /bbox/],
      [{ takenFrom: '2021-05-02', takenTo: '2021-05-01' }, /takenFrom must be before takenTo/],
      [{ takenFrom: '2021-05-01', takenTo: '2021-05-01' }, /takenFrom must be before takenTo/],
      [{ takenFrom: '1 May' }, /takenFrom/],
      [
        { receivedFrom: '2021-01-01T00:00:00Z', receivedTo: '2020-01-01T00:00:00Z' },
        /receivedFrom must be before receivedTo/,
      ],
      [{ receivedFrom: '2016-12-31T23:59:60Z' }, /receivedFrom must be an RFC 3339/],
      [{ receivedFrom: 'yesterday' }, /receivedFrom/],
      [{ receivedFrom: '0000-01-01T00:00:00Z' }, /receivedFrom must be an RFC 3339/],
      [{ receivedTo: '0001-01-01T00:00:00+01:00' }, /receivedTo must be an RFC 3339/],
      [{ receivedTo: '9999-12-31T23:59:59-01:00' }, /receivedTo must be an RFC 3339/],
      [{ link: 'short' }, /link/],
      [{ status: 'lost' }, /status/],
      [{ camera: 'x' }, /unknown field camera/],
      [{ cameraModel: 'a\0b' }, /cameraModel/],
    ] as [Record<string, string>, RegExp][]) {
      const answer = await search(app, query)
      t.match(answer, { status: 400, detail }, JSON.stringify(query))
    }
  })

  await t.test(
    'a name is found in any case of any language, composed or not, until its image is removed',
    async (t) => {
      const names = ['ÄRGER im Büro.png', 'A\u0308pfel ΣΊΣΥΦΟΣ.png', 'plain_100%.PNG']
      const ids: string[] = []
      for (const filename of names) {
        const answer = await app.inject({
          method: 'POST',
          url: link,
          ...multipart([{ filename, body: await makeImage('png') }]),
        })
        ids.push(answer.json().processed[0].id)
      }
      const find = async (name: string) =>
        (await search(app, { name })).items.map(({ id }: { id: string }) => ids.indexOf(id))
      t.strictSame(await find('ärger IM b'), [0])
      t.strictSame(await find('ÄR'), [0])
      t.strictSame(await find('äpfel σίσυφ'), [1])
      t.strictSame(await find('a\u0308pfel'), [1])
      t.strictSame(await find('PLAIN_100%'), [2])
      // Uploads of an earlier version.
      await app.stores.data.sql`update uploads set search_name = null where name = ${names[2]!}`
      t.strictSame(await find('Plain_'), [2])
      await app.inject({ method: 'DELETE', url: `/admin/images/${ids[0]}`, headers: admin })
      t.strictSame(await find('ärger'), [])
      t.notMatch(JSON.stringify(await app.stores.data.sql`select * from uploads`), /ärger/i, 'erased')
    },
  )

  await t.test(
    'each pair of filters has exactly the matching images on its pages, in each step of a search',
    async (t) => {
      const { sql } = app.stores.data
      const ALL = 60
      const minute = (n: number) => new Date(Date.UTC(2026, 0, 1) - Math.floor(n / 2) * 120_000)
      const rows = Array.from({ length: ALL }, (_, n) => ({
        id: String(n).padStart(48, n % 3 ? 'a' : 'B'),
        hash: (n % 16).toString(16).repeat(63) + (n % 7),
        status: n % 5 === 0 ? 'removed' : n % 7 === 0 ? 'corrupt' : 'ready',
        format: n > 40 ? 'AVIF' : 'JPEG',
        camera_model: n % 4 === 1 ? 'Box' : null,
        taken_at: n % 2 ? `2020-01-${String(1 + (n % 28)).padStart(2, '0')}T10:00:00` : null,
        latitude: n % 3 ? n - 30 : null,
        longitude: n % 3 ? n : null,
        damaged: n % 10 === 3 ? true : null,
        object_fault: n % 20 === 4 ? 'missing' : null,
        received_at: minute(n),
      }))
      const links = rows.map((_, n) => (n > 30 && n < 50 ? 'late' : 'early'))
      const nameOf = (n: number) => (n % 9 === 2 ? `Trip ${n}` : `Img ${n}`)
      await sql`delete from uploads`
      await sql`delete from images`
      await sql`insert into images ${sql(rows.map((row) => ({ ...row, size: 1, media_type: 'image/jpeg', due_at: null })))}`
      const uploads = rows.map(({ id, received_at }, n) => ({
        link_id: links[n]!,
        image_id: id,
        name: nameOf(n),
        duplicate: false,
        received_at,
      }))
      await sql`insert into uploads ${sql(uploads)}`
      // A duplicate of an old image, which is much newer than it.
      const again = {
        link_id: 'late',
        image_id: rows[58]!.id,
        name: 'Trip again',
        duplicate: true,
        received_at: minute(0),
      }
      await sql`insert into uploads ${sql(again)}`
      const isLate = (n: number) => links[n] === 'late' || n === 58
      type Filter = [ImageSearch, (row: (typeof rows)[number], n: number) => boolean]
      const filters: Filter[] = [
        [{}, () => true],
        [{ isPresent: true }, ({ status }) => status !== 'removed'],
        [{ status: 'corrupt' }, ({ status }) => status === 'corrupt'],
        [{ format: 'AVIF' }, ({ format }) => format === 'AVIF'],
        [{ cameraModel: 'Box' }, (row) => row.camera_model === 'Box'],
        [
          { receivedFrom: minute(50), receivedTo: minute(20) },
          (_, n) => minute(n) >= minute(50) && minute(n) < minute(20),
        ],
        [{ takenFrom: '2020-01-10' }, (row) => (row.taken_at ?? '') >= '2020-01-10'],
        [{ link: 'late' }, (_, n) => isLate(n)],
        [{ link: 'nowhere' }, () => false],
        [{ name: 'TRIP' }, (_, n) => n % 9 === 2 || n === 58],
        [{ name: 'trip a' }, (_, n) => n === 58],
        [{ hash: 'cccccc' }, ({ hash }) => hash.startsWith('cccccc')],
        [{ ids: [rows[3]!.id, rows[57]!.id, rows[57]!.id] }, (_, n) => n === 3 || n === 57],
        [{ damaged: true }, ({ damaged }) => damaged === true],
        [{ damaged: false }, ({ damaged }) => damaged === null],
        [{ objectFault: 'missing' }, (row) => row.object_fault === 'missing'],
        [
          { box: { west: 20, south: -20, east: 40, north: 20 } },
          ({ latitude, longitude }) =>
            latitude !== null && Math.abs(latitude) <= 20 && longitude! >= 20 && longitude! <= 40,
        ],
      ]
      const sorted = (
        await sql<{ id: string }[]>`select id from images order by received_at desc, id desc`
      ).map(({ id }) => id)
      const faults: string[] = []
      for (const sizes of [
        { first: 5, recent: 8, few: 2 },
        { first: 5, recent: 100, few: 2 },
        { first: 5, recent: 8, few: 30 },
      ])
        for (const [one, isOne] of filters)
          for (const [two, isTwo] of filters.slice(filters.findIndex(([each]) => each === one))) {
            const search = { ...one, ...two }
            if (sizes.few > 2 && one !== two) continue
            // Two values of one filter are no pair.
            if (one !== two && Object.keys(search).length < Object.keys(one).length + Object.keys(two).length)
              continue
            const expected = rows.filter((row, n) => isOne(row, n) && isTwo(row, n)).map(({ id }) => id)
            const found: string[] = []
            let after: Keyset | undefined
            do {
              const request = { limit: 12, after, search }
              const page = await searchImages({ sql, columns: 'images.*', request, sizes })
              found.push(...page.items.map(({ id }) => id))
              after = page.next
            } while (after)
            const wanted = sorted.filter((id) => expected.includes(id))
            if (wanted.join() !== found.join()) faults.push(JSON.stringify({ search, sizes, wanted, found }))
          }
      t.strictSame(faults, [])
    },
  )
})
