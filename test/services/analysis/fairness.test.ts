import t from 'tap'
import { createOccupancy } from '../../../services/analysis/occupancy.ts'
import { type App, admin, build, makeLink } from '../../helpers/app.ts'
import { makeImage } from '../../helpers/images.ts'
import { multipart } from '../../helpers/multipart.ts'

async function upload(app: App, url: string) {
  const response = await app.inject({
    method: 'POST',
    url,
    ...multipart([{ body: await makeImage('jpeg') }]),
  })
  return response.json().processed[0].id as string
}

t.test('the last free decoder takes no image of a link whose slow images occupy the others', async (t) => {
  const app = await build(t)
  const [slowLink, otherLink] = [await makeLink(app), await makeLink(app)]
  const slow = await upload(app, slowLink)
  const next = await upload(app, slowLink)
  const other = await upload(app, otherLink)
  const { queue } = app.stores

  let now = 0
  const occupancy = createOccupancy(2, () => now)
  const take = () => queue.take(AbortSignal.timeout(400), occupancy.notLike)
  const first = await take()
  t.equal(first?.imageId, slow)
  const { promise: decoding, resolve: finish } = Promise.withResolvers<void>()
  const occupied = occupancy.during(slow, () => decoding)
  t.strictSame(occupancy.notLike(), [], 'an image that has just begun is not slow')
  now = 3_000

  const second = await take()
  t.equal(second?.imageId, other, 'the other link comes first')
  t.equal(await take(), undefined, 'and the decoder then stays free')
  finish()
  await occupied
  t.equal((await take())?.imageId, next)
  t.equal((await app.inject({ url: `/admin/images/${next}`, headers: admin })).statusCode, 200)
})

t.test('a single decoder takes every image', async (t) => {
  let now = 0
  const occupancy = createOccupancy(1, () => now)
  const { promise, resolve } = Promise.withResolvers<void>()
  const occupied = occupancy.during('an-image', () => promise)
  now = 60_000
  t.strictSame(occupancy.notLike(), [])
  resolve()
  await occupied
})
