import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Image } from '../schemas/images.ts'
import type { UploadAnswer } from '../schemas/uploads.ts'
import { admin } from './helpers/app.ts'
import { dataDirWithLentDatabase } from './helpers/embedded.ts'
import { startFaultyProxy } from './helpers/faulty-proxy.ts'
import { makePadded } from './helpers/images.ts'
import { startWrong } from './helpers/mistakes.ts'
import { readiness } from './helpers/readiness.ts'
import { startS3, withoutS3 } from './helpers/s3.ts'
import { startServer } from './helpers/server.ts'

t.test('wrong settings of S3', { skip: withoutS3() }, async (t) => {
  const s3 = await startS3(t)
  t.jobs = 2 // the worker waits most of the time

  t.test(
    'permissions, then a bucket, that a worker loses for twelve seconds',
    { buffered: true },
    async (t) => {
      const DATA_DIR = await dataDirWithLentDatabase(t)
      const bucket = await s3.createBucket('worker')
      const proxy = await startFaultyProxy(t, s3.endpoint)
      const OBJECT_STORE_URL = s3.url(bucket, { through: proxy.url }).href
      const env = { DATA_DIR, OBJECT_STORE_URL, WORKER_PROCESSES: '1', INLINE_LIMIT: '0' }
      const server = await startServer(t, env, { database: 'lent' })
      const link = await server.makeLink()
      const denied = { status: 403, body: '<Error><Code>AccessDenied</Code></Error>' }
      const missing = { status: 404, body: '<Error><Code>NoSuchBucket</Code></Error>' }
      let fault = denied
      proxy.fail(({ method }) => (method === 'GET' ? fault : undefined))
      const body = new FormData()
      body.append('image', new Blob([await makePadded(1000)]))
      const { processed } = (await (await fetch(link, { method: 'POST', body })).json()) as UploadAnswer
      const status = async () => {
        const answer = await fetch(`${server.url}/admin/images/${processed[0]!.id}`, { headers: admin })
        return ((await answer.json()) as Image).status
      }
      await sleep(6_000)
      fault = missing
      await sleep(6_000)
      const refused = proxy.seen.filter((each) => each.startsWith('GET')).length
      t.ok(refused >= 3, `the worker has tried as often as an image may fail: ${refused} times`)
      t.equal(await status(), 'pending')
      proxy.fail(() => undefined)
      const end = Date.now() + 60_000
      while ((await status()) === 'pending' && Date.now() < end) await sleep(500)
      t.equal(await status(), 'ready')
      await server.end('SIGTERM')
    },
  )

  t.test('settings of a service', { buffered: true }, async (t) => {
    const bucket = await s3.createBucket('mistakes')
    const DATA_DIR = await dataDirWithLentDatabase(t)
    const envOf = (url: URL) => ({ DATA_DIR, OBJECT_STORE_URL: url.href, WORKER_PROCESSES: '0' })
    const start = (url: URL, env: Record<string, string> = {}) => startWrong(t, { ...envOf(url), ...env })

    await t.test('a bucket that does not exist', async (t) => {
      const { code, output } = await start(s3.url('nowhere'))
      t.equal(code, 1)
      t.match(output, /The bucket nowhere can't be used.*has no such bucket/)
    })

    await t.test('a wrong key and a wrong secret', async (t) => {
      const wrongKey = await start(s3.url(bucket), { AWS_ACCESS_KEY_ID: 'wrong' })
      t.match(wrongKey, { code: 1, output: /does not know the access key/ })
      const wrongSecret = await start(s3.url(bucket), { AWS_SECRET_ACCESS_KEY: 'wrong' })
      t.match(wrongSecret, { code: 1, output: /refuses the secret key/ })
    })

    await t.test('permissions that are missing', async (t) => {
      const proxy = await startFaultyProxy(t, s3.endpoint)
      const denied = { status: 403, body: '<Error><Code>AccessDenied</Code></Error>' }
      for (const [method, action] of [
        ['PUT', 'write an object'],
        ['GET', 'read an object'],
        ['POST', 'make a multipart upload'],
      ] as const) {
        proxy.fail((request) => (request.method === method ? denied : undefined))
        const { code, output } = await start(s3.url(bucket, { through: proxy.url }))
        t.equal(code, 1, method)
        t.match(output, new RegExp(`the service can't ${action} in it. .*refuses access`))
      }
    })

    await t.test('a server that does not implement checksums', async (t) => {
      const proxy = await startFaultyProxy(t, s3.endpoint)
      proxy.fail(({ headers }) =>
        Object.keys(headers).some((name) => /^x-amz-(sdk-checksum|checksum|trailer)/.test(name))
          ? { status: 501, body: '<Error><Code>NotImplemented</Code></Error>' }
          : undefined,
      )
      const { code, output } = await start(s3.url(bucket, { through: proxy.url }))
      t.equal(code, 1)
      t.match(output, /add checksums=when-required to the URL/)
      const url = s3.url(bucket, { through: proxy.url, parameters: 'checksums=when-required' })
      const server = await startServer(t, envOf(url), { database: 'lent' })
      t.equal((await fetch(`${server.url}/readyz`)).status, 200)
      await server.end('SIGTERM')
    })

    await t.test('a bucket of another installation', async (t) => {
      const { code, output } = await startWrong(t, {
        DATA_DIR: await dataDirWithLentDatabase(t),
        OBJECT_STORE_URL: s3.url(bucket).href,
      })
      t.equal(code, 1)
      t.match(output, /The database is new, but the store of objects belongs to an installation/)
    })

    await t.test('permissions that are lost while the service runs', async (t) => {
      const proxy = await startFaultyProxy(t, s3.endpoint)
      const url = s3.url(bucket, { through: proxy.url })
      const server = await startServer(t, envOf(url), { database: 'lent' })
      proxy.fail(() => 403)
      const answer = await readiness(server.url, 503)
      t.match(await answer.text(), /refuses access/)
      proxy.fail(() => undefined)
      await readiness(server.url, 200)
      await server.end('SIGTERM')
    })
  })
})
