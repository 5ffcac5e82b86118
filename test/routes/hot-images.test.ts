import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { readsWhole } from '../../stores/objects/object-store.ts'
import { admin } from '../helpers/app.ts'
import { forward } from '../helpers/clock.ts'
import { makeImage } from '../helpers/images.ts'
import { buildWithSweep, DAY } from '../helpers/lifecycle.ts'

const { app, objects, upload, age, sweep, tierOf } = await (await buildWithSweep(t, {})).fresh()
const png = await makeImage('png', { width: 40, height: 40 })
const newBody = (bytes = 16) => Buffer.concat([png, randomBytes(bytes)])

/** Uploads an image, and asks for it so often that its bytes are in memory. */
async function uploadHot(t: Test, body = newBody()) {
  const { id } = await upload(body)
  await heat(t, id, body)
  return id
}

async function heat(t: Test, id: string, body: Buffer) {
  const before = app.cache.bytes.count.hits
  for (let n = 0; n < 5; n++) {
    const { statusCode, rawPayload } = await app.inject(`/images/${id}`)
    t.equal(statusCode, 200)
    t.ok(rawPayload.equals(body), `time ${n}`)
  }
  t.ok(app.cache.bytes.count.hits > before, 'its bytes are in memory')
}

t.test('an image from memory has ranges and conditions as one from the store', async (t) => {
  const body = newBody()
  const { id } = await upload(body)
  const get = (headers = {}) => app.inject({ url: `/images/${id}`, headers })
  const first = await get()
  await heat(t, id, body)
  const { date: _, ...fields } = first.headers
  t.match((await get()).headers, fields)

  for (const [range, start, end] of [
    ['bytes=0-0', 0, 0],
    ['bytes=10-99', 10, 99],
    ['bytes=-5', body.length - 5, body.length - 1],
  ] as const) {
    const { statusCode, rawPayload, headers } = await get({ range })
    t.equal(statusCode, 206)
    t.equal(headers['content-range'], `bytes ${start}-${end}/${body.length}`)
    t.equal(headers['content-length'], String(end - start + 1))
    t.ok(rawPayload.equals(body.subarray(start, end + 1)), range)
  }
  t.equal((await get({ range: `bytes=${body.length}-` })).statusCode, 416)
  const notModified = await get({ 'if-none-match': first.headers.etag })
  t.equal(notModified.statusCode, 304)
  t.equal(notModified.headers.etag, first.headers.etag)
  t.notOk(notModified.headers['content-length'], 'a client would wait for so many bytes')
  t.notOk(notModified.headers['content-type'])
  t.ok((await get()).rawPayload.equals(body), 'a range has not changed it')
  t.equal((await app.inject(`/images/${id}?metadata=none`)).statusCode, 200, 'and it can be served stripped')
})

t.test('a large image is not kept in memory', async (t) => {
  const large = newBody(256 * 1024)
  const { id } = await upload(large)
  const before = { ...app.cache.bytes.count }
  for (let n = 0; n < 4; n++) t.ok((await app.inject(`/images/${id}`)).rawPayload.equals(large))
  t.strictSame({ ...app.cache.bytes.count }, before)
})

t.test('an image in memory that the admin removes is gone at once', async (t) => {
  const id = await uploadHot(t)
  const answer = await app.inject({ method: 'DELETE', url: `/admin/images/${id}`, headers: admin })
  t.equal(answer.statusCode, 204)
  t.equal((await app.inject(`/images/${id}`)).statusCode, 410)
  t.notOk(app.cache.bytes.get(id))
})

t.test('an image in memory that another process removes, or finds corrupt, is gone within 5 s', async (t) => {
  const [removed, corrupt] = [await uploadHot(t), await uploadHot(t)]
  await app.stores.data.images.remove(removed)
  await app.stores.data.sql`update images set status = 'corrupt' where id = ${corrupt}`
  // The clock of the caches goes forward. Requests in the meantime do not extend the time.
  for (let passed = 0; passed < 5_000; passed += 500) {
    forward(t, 500)
    await Promise.all([removed, corrupt].map((id) => app.inject(`/images/${id}`)))
  }
  for (const id of [removed, corrupt]) {
    t.equal((await app.inject(`/images/${id}`)).statusCode, 410)
    t.notOk(app.cache.bytes.get(id), 'nor are its bytes kept')
  }
})

t.test('a request for an image in memory counts as an access', async (t) => {
  const body = newBody()
  const id = await uploadHot(t, body)
  await app.services.lastAccess.flush()

  await age(id, 3 * DAY)
  t.match(await sweep({ archiveAfter: DAY }), { archived: 1 })
  t.equal(await tierOf(id), 'cold')
  await heat(t, id, body)
  await app.services.lastAccess.flush()
  t.match(await sweep({ archiveAfter: DAY }), { archived: 0, restored: 1 })
  t.equal(await tierOf(id), 'hot')
})

t.test('an image of a store that only streams is served correctly', async (t) => {
  t.ok(Reflect.deleteProperty(objects, 'readWhole') && !readsWhole(objects))
  t.ok(objects === app.stores.objects.at({ region: '', tier: 'hot' }))
  await uploadHot(t)
})
