import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readDatabaseUrl } from '../../../stores/data/database-url.ts'

t.test('an IPv6 address may be the host, with and without user and port', async (t) => {
  for (const [url, host, port] of [
    ['postgres://[::1]/hasty', '::1', 5432],
    ['postgres://hasty:p%40ss@[2001:db8::7]:6432/hasty', '2001:db8::7', 6432],
    ['postgresql://hasty@[::1]:5433', '::1', 5433],
  ] as const)
    t.match(readDatabaseUrl(url).options, { host: [host], port: [port] }, url)
  t.strictSame(readDatabaseUrl('postgres://hasty@db.example:5433/hasty').options, {})
  t.strictSame(readDatabaseUrl('postgres://a:5433,b:5434/hasty').options, {})
})

t.test('parameters for TLS are read as libpq reads them', async (t) => {
  const ca = join(t.testdir(), 'ca.pem')
  writeFileSync(ca, 'a certificate')
  const url = (query: string) => readDatabaseUrl(`postgres://db.example/hasty?${query}`)
  const path = encodeURIComponent(ca)
  t.match(url(`sslmode=verify-full&sslrootcert=${path}`), {
    url: 'postgres://db.example/hasty',
    options: { ssl: { ca: 'a certificate', checkServerIdentity: Function } },
  })
  t.match(url(`sslmode=verify-ca&sslrootcert=${path}`).options.ssl, {
    ca: 'a certificate',
    checkServerIdentity: Function,
  })
  t.match(url(`sslmode=require&sslrootcert=${path}`).options.ssl, {
    ca: 'a certificate',
    checkServerIdentity: Function,
  })
  t.match(url('sslrootcert=system').options, { ssl: { checkServerIdentity: Function } })
  t.strictSame(url('sslmode=require'), { url: 'postgres://db.example/hasty?sslmode=require', options: {} })
  t.equal(
    url('sslmode=require&channel_binding=prefer&application_name=a').url,
    'postgres://db.example/hasty?sslmode=require&application_name=a',
    'what has no meaning here is not sent to the server',
  )
})

t.test('an unsupported parameter is refused by name', async (t) => {
  t.throws(() => readDatabaseUrl('postgres://db.example/hasty?sslrootcert=%2Fnothing'), {
    name: 'InvalidDatabaseUrl',
    message:
      /DATABASE_URL: the file of sslrootcert \(\/nothing\) cannot be read\. Give the path of a PEM file/,
  })
  t.throws(() => readDatabaseUrl('postgres://db.example/hasty?service=main'), {
    message: /parameter service is not supported/,
  })
})
