import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createLifecycle } from '../../services/lifecycle/index.ts'
import { admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

t.test('all images of a link or of a filter are removed, and the use of storage is reported', async (t) => {
  const app = await build(t)
  const [one, other] = [await makeLink(app, { sinceNow: 'PT1H', label: 'wedding' }), await makeLink(app)]
  const image = await makeImage()
  const send = async (link: string, count: number) => {
    const contents = Array.from({ length: count }, () => Buffer.concat([image, randomBytes(1000)]))
    const form = multipart(contents.map((body) => ({ body })))
    const answer = await app.inject({ method: 'POST', url: link, ...form })
    return answer.json().processed as { id: string }[]
  }
  const sent = [...(await send(one, 20)), ...(await send(one, 5))]
  const [kept] = await send(other, 1)

  const { stores, config } = app
  const log = { info() {}, warn() {}, error() {} }
  await createLifecycle({ stores, log, config }).sweep({ signal: new AbortController().signal })
  const size = image.length + 1000
  const read = async () => (await app.inject({ url: '/admin/storage', headers: admin })).json()
  t.match(await read(), {
    measuredAt: String,
    stores: [{ region: '', tier: 'hot', objects: 26, bytes: 26 * size, trashObjects: 0, otherObjects: 0 }],
    links: [{ label: 'wedding', uploads: 25, bytes: 25 * size }, { uploads: 1 }],
  })

  const remove = (query: string) =>
    app.inject({ method: 'DELETE', url: `/admin/images${query}`, headers: admin })
  isProblem(t, await remove(''), 400, 'invalid-filter', /at least one filter/)
  isProblem(t, await remove('?lnik=x'), 400, 'invalid-request', /lnik/)
  t.same((await remove('?status=failed')).json(), { removed: 0, isDone: true })
  t.same((await remove(`?link=${one.split('/').at(-1)}`)).json(), { removed: 25, isDone: true })
  t.same((await remove(`?link=${one.split('/').at(-1)}`)).json(), { removed: 0, isDone: true })
  for (const { id } of sent) await t.rejects(objectsOf(app).size(id))
  t.equal((await app.inject(`/images/${sent[0]!.id}`)).statusCode, 410)
  t.equal((await app.inject(`/images/${kept!.id}`)).statusCode, 200)
})
