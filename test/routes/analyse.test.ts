import { createLog } from '../../process/log.ts'
import { createAnalysis } from '../../services/analysis/index.ts'
import { admin, build, makeLink } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { until } from '../helpers/pending.ts'

eachDatabase(async (t, env) => {
  const app = await build(t, env)
  const { sql } = app.stores.data
  const post = (url: string) => app.inject({ method: 'POST', url, headers: admin })
  const show = async (id: string) => (await app.inject({ url: `/admin/images/${id}`, headers: admin })).json()

  async function upload() {
    const parts = multipart([{ body: await makeImage() }])
    const answer = await app.inject({ method: 'POST', url: await makeLink(app), ...parts })
    return answer.json().processed[0].id as string
  }

  async function analyse() {
    const stop = new AbortController()
    const log = createLog({ ...app.config, logLevel: 'silent' }, 'test')
    const running = createAnalysis({ stores: app.stores, log, concurrency: 1 }).run(stop.signal)
    await until(async () => (await app.stores.queue.waiting()) === 0, 60_000)
    stop.abort()
    await running
  }

  await t.test('a failed image is analysed again by POST /admin/images/{id}/analyse', async (t) => {
    const id = await upload()
    await sql`update images set status = 'failed', failure = 'of the test', due_at = null, attempts = 3`
    const answer = await post(`/admin/images/${id}/analyse`)
    t.equal(answer.statusCode, 202)
    t.strictSame(answer.json(), { queued: 1 })
    t.strictSame((await post(`/admin/images/${id}/analyse`)).json(), { queued: 0 }, 'it waits already')
    t.match(await show(id), { status: 'failed' }, 'until the verdict')
    t.equal((await app.inject(`/images/${id}`)).statusCode, 200)
    await analyse()
    const image = await show(id)
    t.match(image, { status: 'ready', width: 8 })
    t.notOk(image.failure)
  })

  await t.test('all images with a status are analysed again, and the counts stay right', async (t) => {
    const ids = [await upload(), await upload(), await upload()]
    await analyse()
    await sql`update images set status = 'failed', due_at = null where id = ${ids[0]!}`
    // As a worker does: a corrupt image is not counted by format.
    const lease = await corruptLease(ids[1]!)
    await app.stores.data.imageLeases.settle(lease, { status: 'corrupt', failure: 'of the test' })
    const formats = async () =>
      (await app.inject({ url: '/admin/stats', headers: admin })).json().popularFormat.uploads
    const before = await formats()
    t.strictSame((await post('/admin/images/analyse?status=failed')).json(), { queued: 1 })
    t.strictSame((await post('/admin/images/analyse?status=corrupt')).json(), { queued: 1 })
    await analyse()
    for (const id of ids) t.match(await show(id), { status: 'ready' })
    t.equal(await formats(), before + 1)
  })

  async function corruptLease(imageId: string) {
    await sql`update images set due_at = now() where id = ${imageId}`
    const lease = await app.stores.data.imageLeases.leaseOne({ imageId, token: 'x', milliseconds: 60_000 })
    return lease!
  }

  await t.test('a wrong call is refused', async (t) => {
    const id = await upload()
    await app.inject({ method: 'DELETE', url: `/admin/images/${id}`, headers: admin })
    t.equal((await post(`/admin/images/${id}/analyse`)).statusCode, 410)
    t.equal((await post(`/admin/images/${'x'.repeat(48)}/analyse`)).statusCode, 404)
    t.equal((await post('/admin/images/analyse')).statusCode, 400)
    t.equal((await post('/admin/images/analyse?status=removed')).statusCode, 400)
    t.equal((await app.inject({ method: 'POST', url: `/admin/images/${id}/analyse` })).statusCode, 401)
  })
})
