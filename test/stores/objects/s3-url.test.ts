import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createS3Store } from '../../../stores/objects/s3/index.ts'

t.test('a valid URL is accepted without a server', async () => {
  await createS3Store(
    new URL(
      's3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu&forcePathStyle=true&storageClass=STANDARD',
    ),
  )
  await createS3Store(new URL('s3://bucket?region=eu-central-1'))
})

t.test('a wrong URL is refused with the reason', async (t) => {
  for (const [url, message] of Object.entries({
    's3:///prefix': /has no bucket/,
    's3://bucket?regoin=eu': /unknown parameter "regoin"; the parameters are endpoint, region, /,
    's3://bucket?region=': /no value for region/,
    's3://bucket?region=a&region=b': /region more than once/,
    's3://bucket?region=eu&endpoint=localhost:9000': /endpoint that is not an http or https URL/,
    's3://bucket?region=eu&endpoint=nonsense': /endpoint that is not an http or https URL/,
    's3://bucket?region=eu&forcePathStyle=yes': /neither true nor false/,
    's3://bucket:9000?region=eu': /port/,
    's3://bucket/%zz?region=eu': /% without two hexadecimal digits/,
    's3://key:hunter2@bucket?region=eu': /contains credentials/,
    's3://bucket?region=eu&endpoint=http://key:hunter2@127.0.0.1': /contains credentials in its endpoint/,
  })) {
    await t.rejects(createS3Store(new URL(url)), { message }, url)
    await t.rejects(
      createS3Store(new URL(url)),
      { message: /^(?!.*hunter2)/ },
      'the message contains no secret',
    )
  }
})

t.test('the endpoint may be an IPv6 address', async (t) => {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    response.end()
  })
  server.listen(0, '::1')
  await once(server, 'listening')
  t.teardown(() => server.close().closeAllConnections())
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret' })
  const endpoint = `http://[::1]:${(server.address() as AddressInfo).port}`
  const store = await createS3Store(new URL(`s3://bucket?endpoint=${endpoint}&region=eu&forcePathStyle=true`))
  await store.ping()
  t.strictSame(seen, ['HEAD /bucket/'])
})

t.test('the URL decides whether requests have checksums', async (t) => {
  await createS3Store(new URL('s3://bucket?region=eu&checksums=when-required'))
  await t.rejects(createS3Store(new URL('s3://bucket?region=eu&checksums=no')), {
    message: /neither when-supported nor when-required/,
  })
})
