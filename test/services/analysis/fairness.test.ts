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
  const take = () => queue.take(AbortSignal.timeout(400), occupancy.avoided)
  const first = await take()
  t.equal(first?.imageId, slow)
  const { promise: decoding, resolve: finish } = Promise.withResolvers<void>()
  const occupied = occupancy.during(slow, () => decoding)
  t.strictSame(occupancy.avoided().images, [], 'an image that has just begun is not slow')
  now = 3_000

  const second = await take()
  t.equal(second?.imageId, other, 'the other link comes first')
  t.equal(await take(), undefined, 'and the decoder then stays free')
  finish()
  await occupied
  t.equal((await take())?.imageId, next)
  t.equal((await app.inject({ url: `/admin/images/${next}`, headers: admin })).statusCode, 200)
})

t.test('after a slow image of a link, a single decoder takes images of other links first', async (t) => {
  const app = await build(t)
  const [slowLink, otherLink] = [await makeLink(app), await makeLink(app)]
  const slow = [await upload(app, slowLink), await upload(app, slowLink), await upload(app, slowLink)]
  const others = [await upload(app, otherLink), await upload(app, otherLink)]

  let now = 0
  const occupancy = createOccupancy(1, () => now)
  const order: string[] = []
  for (let taken = 0; taken < 5; taken++) {
    const lease = await app.stores.queue.take(AbortSignal.timeout(400), occupancy.avoided)
    order.push(lease!.imageId)
    await occupancy.during(lease!.imageId, async () => {
      now += slow.includes(lease!.imageId) ? 10_000 : 50
    })
  }
  t.strictSame(order, [slow[0], ...others, ...slow.slice(1)])
  now += 10_001
  t.strictSame(occupancy.avoided(), { images: [], strictly: false }, 'then the link need not wait')
})
