import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createS3Store } from '../../../stores/objects/s3/index.ts'
import { PART_BYTES } from '../../../stores/objects/s3/memory.ts'
import { startFaultyProxy } from '../../helpers/faulty-proxy.ts'
import { startS3, withoutS3 } from '../../helpers/s3.ts'
import { chunks, keys } from './object-store-contract.ts'

const MIB = 2 ** 20
const QUICK = { connect: 1_000, idle: 1_000, request: 2_000 }

/** A source that yields `size` bytes and then stands still. */
function standing(size: number) {
  const source = new Readable({ read() {} })
  for (let i = 0; i < size; i += MIB) source.push(Buffer.alloc(MIB))
  return source
}

const isPart = ({ url }: IncomingMessage) => url!.includes('partNumber=')
const isPartTwo = ({ url }: IncomingMessage) => url!.includes('partNumber=2&')
const isComplete = ({ method, url }: IncomingMessage) => method === 'POST' && url!.includes('uploadId=')

/** The error of an unavailable store. */
const unavailable = (cause: object) => ({ name: 'StoreUnavailable', cause })

t.test('S3 with faults', { skip: withoutS3() }, async (t) => {
  const s3 = await startS3(t)
  const bucket = await s3.createBucket('faults')
  const proxy = await startFaultyProxy(t, s3.endpoint)
  const direct = await createS3Store(s3.url(bucket))
  let store = direct
  // A new one each time, because the SDK retries less and less while nothing succeeds.
  t.beforeEach(async () => {
    store = await createS3Store(s3.url(bucket, { through: proxy.url }), { timeouts: QUICK })
  })
  const nothingLeft = async (t: Test, message: string) => {
    proxy.fail(() => undefined)
    t.strictSame(await keys(direct), [], `${message}: the store is empty`)
    t.strictSame(await s3.openUploads(bucket), [], `${message}: no upload is open`)
  }

  await t.test('a temporary fault is retried', async (t) => {
    for (const [fault, size] of [
      [500, 1000],
      [503, 1000],
      ['cut', 1_000_000],
      ['unanswered', 1000],
      ['stall', 1000],
      [503, 3 * PART_BYTES],
      ['cut', 3 * PART_BYTES],
      ['stall', 3 * PART_BYTES],
    ] as const) {
      const { bytes, source } = chunks(size)
      let tries = 0
      proxy.fail((request) => ((size < PART_BYTES || isPart(request)) && tries++ < 2 ? fault : undefined))
      await (await store.stage('retried', source)).commit()
      t.ok(bytes.equals(await buffer(await direct.get('retried'))), `${fault}, ${size} bytes`)
      t.strictSame(await s3.openUploads(bucket), [])
      await direct.delete('retried')
    }
  })

  await t.test('a commit whose response was lost succeeds', async (t) => {
    const { bytes, source } = chunks(PART_BYTES + 1)
    const staged = await store.stage('lost', source)
    let tries = 0
    proxy.fail((request) => (isComplete(request) && tries++ === 0 ? 'unanswered' : undefined))
    await staged.commit()
    t.ok(bytes.equals(await buffer(await direct.get('lost'))))
    await direct.delete('lost')
    await nothingLeft(t, 'lost answer')
  })

  await t.test(
    'a commit whose response was lost succeeds if the server has forgotten the upload',
    async (t) => {
      const { bytes, source } = chunks(PART_BYTES + 1)
      const staged = await store.stage('lost', source)
      let tries = 0
      proxy.fail((request) => {
        if (!isComplete(request)) return undefined
        tries += 1
        // Ceph would complete it again; others have forgotten it by now.
        return tries === 1 ? 'unanswered' : { status: 404, body: '<Error><Code>NoSuchUpload</Code></Error>' }
      })
      await staged.commit()
      t.equal(tries, 2)
      t.ok(bytes.equals(await buffer(await direct.get('lost'))))
      await direct.delete('lost')
      await nothingLeft(t, 'forgotten')
    },
  )

  await t.test('an upload that was aborted in the meantime cannot be committed', async (t) => {
    const staged = await store.stage('aborted', chunks(PART_BYTES + 1).source)
    for (const key of await keys(direct)) await direct.delete(key)
    await t.rejects(staged.commit())
    await nothingLeft(t, 'aborted')
  })

  await t.test('a permanent fault rejects and leaves nothing behind', async (t) => {
    for (const fault of [500, 503, 'cut', 'stall'] as const) {
      // An error of one kind of request; the others, which clean up, go through.
      const { source } = chunks(4 * PART_BYTES)
      proxy.fail((request) => (isPartTwo(request) ? fault : undefined))
      await t.rejects(store.stage('failing', source), unavailable({}), `parts: ${fault}`)
      t.equal(source.destroyed, true)
      await nothingLeft(t, `parts: ${fault}`)

      for (const size of [1_000_000, PART_BYTES + 1]) {
        const staged = await store.stage('failing', chunks(size).source)
        proxy.fail(({ method }) => (method === 'PUT' || method === 'POST' ? fault : undefined))
        await t.rejects(staged.commit(), unavailable({}), `commit of ${size} bytes: ${fault}`)
        await nothingLeft(t, `commit of ${size} bytes: ${fault}`)
      }
    }
    proxy.fail(() => 507)
    const staged = await store.stage('failing', chunks(10).source)
    await t.rejects(staged.commit(), { name: 'StoreFull' })
    await nothingLeft(t, '507')
  })

  await t.test('an upload whose responses are all lost fails and is cleaned up', async (t) => {
    const staged = await store.stage('failing', chunks(1000).source)
    proxy.fail(({ method }) => (method === 'PUT' ? 'unanswered' : undefined))
    const error = await staged.commit().catch((error) => error)
    t.match(error, unavailable({ code: 'ECONNRESET', $metadata: { attempts: 4 } }))
    await nothingLeft(t, 'unanswered PUT')
  })

  await t.test('an upload rejects at once although the source stalls', async (t) => {
    const source = standing(2 * PART_BYTES)
    proxy.fail((request) => (isPart(request) ? 403 : undefined))
    const error = await store.stage('failing', source).catch((error) => error)
    t.match(error, unavailable({ $metadata: { httpStatusCode: 403 } }))
    t.equal(source.destroyed, true)
    await nothingLeft(t, 'standing source')
  })

  await t.test('the source fails while parts are being sent', async (t) => {
    const source = standing(4 * PART_BYTES)
    proxy.fail((request) => {
      if (isPartTwo(request)) source.destroy(new Error('the client has gone'))
      return isPart(request) ? 'stall' : undefined
    })
    await t.rejects(store.stage('failing', source), { message: 'the client has gone' })
    await nothingLeft(t, 'failing source')
  })

  await t.test('a discarded upload is aborted on the server', async (t) => {
    const staged = await store.stage('discarded', chunks(3 * PART_BYTES).source)
    t.strictSame(await s3.openUploads(bucket), ['discarded'])
    await staged.discard()
    await nothingLeft(t, 'discarded')
  })

  await t.test('every call ends if the server stalls', async (t) => {
    proxy.fail(() => 'stall')
    const start = Date.now()
    const calls = {
      get: store.get('any'),
      size: store.size('any'),
      delete: store.delete('any'),
      ping: store.ping(),
      list: keys(store),
      stage: store.stage('any', chunks(PART_BYTES + 1).source),
    }
    const outcomes = await Promise.allSettled(Object.values(calls))
    for (const [i, name] of Object.keys(calls).entries()) {
      t.match(outcomes[i], { status: 'rejected', reason: unavailable({ name: 'TimeoutError' }) }, name)
    }
    t.ok(Date.now() - start < 8 * QUICK.idle + 2000)
    await nothingLeft(t, 'stalled')
  })

  await t.test('a response that stops or is cut is an error, not a short object', async (t) => {
    await (await direct.stage('whole', chunks(5_000_000).source)).commit()
    for (const [fault, error] of [
      ['halt', { name: 'TimeoutError' }],
      ['crop', { code: 'ECONNRESET' }],
    ] as const) {
      proxy.fail(() => fault)
      await t.rejects(buffer(await store.get('whole')), error, fault)
    }
  })

  await t.test('a reader that is destroyed closes its connection', async (t) => {
    proxy.fail(() => undefined)
    const body = await store.get('whole')
    await once(body, 'readable')
    const open = proxy.openConnections()
    body.destroy()
    for (let i = 0; i < 100 && proxy.openConnections() >= open; i++) await sleep(10)
    t.equal(proxy.openConnections(), open - 1)
    await direct.delete('whole')
  })

  await t.test('if the server stops, the upload rejects and the sweep finds the rest of it', async (t) => {
    const source = standing(3 * PART_BYTES)
    proxy.fail((request) => {
      if (isPartTwo(request)) proxy.close()
      return undefined
    })
    await t.rejects(store.stage('left', source))
    t.equal(source.destroyed, true)
    const left = await keys(direct)
    t.match(left, [/^incoming\/left\//])
    await direct.delete(left[0]!)
    t.strictSame(await s3.openUploads(bucket), [])

    const staged = await store.stage('refused', chunks(1000).source)
    await t.rejects(staged.commit(), unavailable({ code: 'ECONNREFUSED' }))
    await t.rejects(store.get('refused'), unavailable({ code: 'ECONNREFUSED' }))
    await t.rejects(store.ping(), unavailable({ code: 'ECONNREFUSED' }))
  })
})
