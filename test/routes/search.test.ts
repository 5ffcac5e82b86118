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
})
