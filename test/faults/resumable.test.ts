import { createHash, randomInt } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createLifecycle } from '../../services/lifecycle/index.ts'
import { build, makeLink, objectsOf } from '../helpers/app.ts'
import { makePadded } from '../helpers/images.ts'
import { begin, offsetOf, patch, send } from '../helpers/resumable-sockets.ts'
import { times } from '../helpers/tiers.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const quiet = { info() {}, warn() {}, error() {} }

async function listen(env: Record<string, string> = {}) {
  const app = await build(t, env)
  await app.listen({ port: 0 })
  const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  return { app, base, link: base + (await makeLink(app)) }
}

const { app, link } = await listen({ SWEEP_GRACE: 'PT1S' })
const incoming = async () =>
  (await Array.fromAsync(objectsOf(app).list())).filter(({ key }) => key.startsWith('incoming/'))

const CUTS = times(5, 200)
t.test(
  `after ${CUTS} connections that were cut at random bytes, each upload is complete`,
  { timeout: 600_000 },
  async (t) => {
    let cuts = 0
    while (cuts < CUTS) {
      const bytes = await makePadded(randomInt(100_000, 3_000_000))
      const url = await begin(link, bytes.length)
      let known = 0
      for (let n = 0; n < 5 && cuts < CUTS; n++) {
        const rest = bytes.subarray(known)
        if (rest.length === 0) break
        await patch(url, known, rest, { cutAfter: randomInt(rest.length) })
        cuts++
        const offset = await offsetOf(url)
        if (offset < known) t.fail(`the offset moved back from ${known} to ${offset}`)
        known = offset
      }
      const last = await patch(url, known, bytes.subarray(known))
      t.equal(JSON.parse(last!.body).processed?.[0].hash, sha256(bytes), last!.body)
    }
    t.strictSame(await incoming(), [])
  },
)

t.test('a new request takes over from one that still appends, and loses none of its bytes', async (t) => {
  const bytes = await makePadded(2_000_000)
  const url = await begin(link, bytes.length)
  // It sends half of its body and then nothing, on a connection that stays open.
  const old = send(
    url,
    'PATCH',
    { 'tus-resumable': '1.0.0', 'content-type': 'application/offset+octet-stream', 'upload-offset': 0 },
    bytes,
    { cutAfter: 1_000_000, onWrite: () => {} },
  )
  await sleep(3)
  const offset = await offsetOf(url)
  const answer = await patch(url, offset, bytes.subarray(offset))
  t.equal(JSON.parse(answer!.body).processed[0].hash, sha256(bytes))
  await old
})

t.test('a request that was replaced in another process fails, and changes nothing', async (t) => {
  const bytes = await makePadded(500_000)
  const url = await begin(link, bytes.length)
  const id = url.split('/').at(-1)!
  await patch(url, 0, bytes.subarray(0, 1_000))
  const { resumable } = app.stores.data
  await resumable.take(id, 'another process')
  t.equal(await offsetOf(url), 1_000, 'reading the offset replaces it')
  await t.rejects(
    resumable.save({ id, writer: 'another process' }, { size: 2_000, details: {}, length: null }),
    { name: 'WriterReplaced' },
  )
  await resumable.take(id, 'another process')
  const answer = await patch(url, 1_000, bytes.subarray(1_000))
  t.equal(JSON.parse(answer!.body).processed[0].hash, sha256(bytes))
  t.strictSame(await incoming(), [])
})

t.test('an upload whose last step failed is completed when its offset is read', async (t) => {
  const bytes = await makePadded(500_000)
  const url = await begin(link, bytes.length)
  const id = url.split('/').at(-1)!
  await patch(url, 0, bytes.subarray(0, 400_000))
  // All bytes are recorded, and then the process dies before the image is recorded.
  const { resumable, uploads: _ } = app.stores.data
  const row = (await resumable.take(id, 'dead'))!
  if (row === 'completing') throw new Error('completing')
  const store = objectsOf(app) as never as import('../../stores/objects/object-store.ts').Appendable
  const { Readable } = await import('node:stream')
  const state = await store.append(
    { key: row.imageId, size: row.size, details: row.details! },
    Readable.from([bytes.subarray(400_000)]),
    { exclusive: true, checkpoint: async () => true },
  )
  await resumable.save({ id, writer: 'dead' }, { ...state, length: bytes.length })
  t.equal(await offsetOf(url), bytes.length)
  const result = JSON.parse((await send(url, 'GET'))!.body)
  t.equal(result.processed[0]?.hash, sha256(bytes))
  t.equal(result.processed[0].duplicate, false)
  t.strictSame(await incoming(), [])
})

const REQUESTS = times(100, 10_000)
t.test(
  `${REQUESTS} requests with fuzzed header fields get no 5xx, and no offset moves back`,
  { timeout: 600_000 },
  async (t) => {
    const bytes = await makePadded(50_000)
    const known = new Map<string, number>()
    const urls: string[] = []
    const statuses: Record<string, number> = {}
    const pick = <T>(...items: T[]) => items[randomInt(items.length)]!
    const number = () =>
      pick<string | number>(
        0,
        1,
        randomInt(60_000),
        bytes.length,
        -1,
        2 ** 53,
        '1e3',
        '0x10',
        ' 5',
        '05',
        '"7"',
        '?1',
        '5;a=1',
        '',
      )
    for (let n = 0; n < REQUESTS; n++) {
      if (urls.length === 0 || n % 20 === 0) {
        urls.push(await begin(link, pick(100, bytes.length)))
        if (urls.length > 20) await send(urls.shift()!, 'DELETE', { 'tus-resumable': '1.0.0' })
      }
      const headers: Record<string, string | number> = {}
      const add = (name: string, value: string | number) => {
        if (randomInt(2)) headers[name] = value
      }
      add('tus-resumable', pick('1.0.0', '1.0.0', '0.2', 'x', ''))
      add('upload-draft-interop-version', pick('8', '6', '"8"', ''))
      add('upload-complete', pick('?0', '?1', '?2', '1', 'true', '?1;x', ''))
      add('upload-offset', number())
      add('upload-length', number())
      add('upload-defer-length', pick('1', '0', 'x'))
      add(
        'upload-metadata',
        pick('filename YQ==', 'filename', 'a,b', ',,', `x ${'A'.repeat(5_000)}`, '\u00ff ='),
      )
      add('upload-checksum', pick('sha1 AAAA', 'md5 ', 'sha256', 'x y', '=', 'sha512 /+=='))
      add('content-digest', pick('sha-256=:AAAA:', 'x', 'sha-256=x', '()'))
      add('repr-digest', pick('sha-256=:AAAA:', 'x', 'md5=:AAAA:'))
      add(
        'content-disposition',
        pick('attachment; filename=x', ';;;', 'x="', `a; filename="${'y'.repeat(500)}"`),
      )
      add('x-http-method-override', pick('PATCH', 'HEAD', 'DELETE', 'PUT', 'x'))
      headers['content-type'] = pick(
        'application/offset+octet-stream',
        'application/partial-upload',
        'application/octet-stream',
        'text/plain',
        'image/png',
      )
      const isNew = randomInt(4) === 0
      const url = isNew ? `${link}/files` : pick(...urls)
      const method = isNew
        ? pick('POST', 'OPTIONS')
        : pick('PATCH', 'PATCH', 'HEAD', 'GET', 'POST', 'OPTIONS')
      const body = ['PATCH', 'POST'].includes(method)
        ? pick(Buffer.alloc(0), bytes.subarray(0, randomInt(200)), bytes)
        : undefined
      const answer = await send(url, method, headers, body)
      const status = answer?.status ?? 0
      statuses[status] = (statuses[status] ?? 0) + 1
      // 503 is the documented answer to too many unfinished bytes.
      if (status === 0 || (status >= 500 && status !== 503))
        t.fail(`${method} ${JSON.stringify(headers)}: ${status} ${answer?.body}`)
      if (answer?.headers.location && status < 300) {
        await send(new URL(answer.headers.location, link).href, 'DELETE', { 'tus-resumable': '1.0.0' })
      }
      const offset = Number(answer?.headers['upload-offset'])
      if (!isNew && status < 300 && !Number.isNaN(offset)) {
        if (offset < (known.get(url) ?? 0))
          t.fail(`the offset moved back from ${known.get(url)} to ${offset}`)
        known.set(url, offset)
      }
    }
    t.comment(JSON.stringify(statuses))
    t.ok((statuses[204] ?? 0) > REQUESTS / 20)
    for (const url of urls) await send(url, 'DELETE', { 'tus-resumable': '1.0.0' })
  },
)

t.test('the sweep leaves nothing of all these uploads', async (t) => {
  await app.stores.data.sql`update resumable_uploads set expires_at = now()`
  const lifecycle = createLifecycle({ stores: app.stores, log: quiet, config: app.config })
  t.match(await lifecycle.sweep({ signal: new AbortController().signal }), { failedSteps: 0 })
  t.strictSame(await incoming(), [])
  t.equal((await app.stores.data.sql`select id from resumable_uploads`).length, 0)
})
