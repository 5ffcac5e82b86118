import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import t from 'tap'
import { ConfigError, readConfig } from '../config.ts'
import { Environment } from '../schemas/environment.ts'

t.test('uses the defaults if no variable is set', async (t) => {
  const config = readConfig({ ACCESS_TOKEN: '' })
  t.match(config, { host: '127.0.0.1', port: 3000, accessTokens: [], maxFiles: 20, trustProxy: false })
  t.equal(config.inlineLimit, 1_048_576)
  t.equal(config.maxFileSize, 104_857_600)
})

t.test('reads sizes with units and a list of tokens', async (t) => {
  const config = readConfig({ INLINE_LIMIT: '0', MAX_FILE_SIZE: '2 GiB', ACCESS_TOKEN: 'one,two' })
  t.equal(config.inlineLimit, 0)
  t.equal(config.maxFileSize, 2 ** 31)
  t.strictSame(config.accessTokens, ['one', 'two'])
})

t.test('reads the path of a token file, and refuses it together with ACCESS_TOKEN', async (t) => {
  t.equal(readConfig({ ACCESS_TOKEN_FILE: '/run/secrets/token' }).accessTokenFile, '/run/secrets/token')
  t.throws(() => readConfig({ ACCESS_TOKEN: 'one', ACCESS_TOKEN_FILE: '/run/secrets/token' }), {
    constructor: ConfigError,
    message: /Remove one of them/,
  })
})

t.test('accepts a folder or a bucket as the object store', async (t) => {
  t.equal(readConfig({ DATA_DIR: '/data' }).regions[0]?.hot.href, 'file:///data/objects')
  for (const url of ['file:///var/lib/hasty/objects', 's3://bucket/prefix?region=eu-central-1']) {
    t.equal(readConfig({ OBJECT_STORE_URL: url }).regions[0]?.hot.href, url)
  }
  for (const url of ['s3://', 's3:bucket', 'file:relative', 'gs://bucket']) {
    t.throws(
      () => readConfig({ OBJECT_STORE_URL: url }),
      { message: /s3:\/\/bucket\/prefix\?endpoint=/ },
      url,
    )
  }
})

t.test('refuses a wrong value with the name of the variable, the reason and an example', async (t) => {
  for (const [name, value] of Object.entries({
    PORT: '70000',
    MAX_FILE_SIZE: '10 apples',
    INLINE_LIMIT: '-1',
    MAX_FILES: '0',
    DATABASE_URL: 'mysql://db',
    OBJECT_STORE_URL: 'ftp://files',
    QUEUE_URL: 'amqp://queue',
    COLD_STORE_URL: 'ftp://files',
    ARCHIVE_AFTER: '90 days',
    DELETE_AFTER: 'P',
    SWEEP_GRACE: 'PT0.5S',
    CORRUPT_GRACE: 'P1DT',
    RESUME_WITHIN: 'P31D',
    LOG_LEVEL: 'loud',
    CLIENT_TIMEOUT: 'PT0.5S',
    GUESS_LIMIT: '-1',
    CORS_ORIGIN: 'https://app.example/page',
    HIDE_DUPLICATES: 'yes',
    PUBLIC_URL: 'images.example',
  })) {
    t.throws(
      () => readConfig({ [name]: value }),
      {
        constructor: ConfigError,
        message: new RegExp(`^${name} is .* but must be .* For example: ${name}=`),
      },
      name,
    )
  }
})

t.test('PUBLIC_URL may have a path, which is percent-encoded and has no slash at the end', async (t) => {
  for (const [value, expected] of Object.entries({
    'https://images.example': 'https://images.example',
    'https://example.org/drop/': 'https://example.org/drop',
    'https://EXAMPLE.org/dröp zone//': 'https://example.org/dr%C3%B6p%20zone',
  }))
    t.equal(readConfig({ PUBLIC_URL: value }).publicUrl, expected)
  t.equal(readConfig({}).publicUrl, '')
  t.throws(() => readConfig({ PUBLIC_URL: 'https://host:port' }), { message: /^PUBLIC_URL is/ })
})

t.test('reads ISO 8601 durations', async (t) => {
  const { archiveAfter, deleteAfter, sweepGrace, corruptGrace } = readConfig({})
  t.strictSame(
    [archiveAfter, deleteAfter, sweepGrace, corruptGrace],
    [undefined, undefined, 3_600_000, 604_800_000],
  )
  for (const [value, milliseconds] of Object.entries({
    P1Y2M1W3D: (365 + 60 + 7 + 3) * 86_400_000,
    P1DT2H3M4S: 93_784_000,
    'PT1.5S': 1_500,
  })) {
    t.equal(readConfig({ DELETE_AFTER: value }).deleteAfter, milliseconds, value)
  }
  for (const value of ['P0D', 'PT0S', 'P101Y', '-P1D', 'P1.5D', 'PT1H30', 'P99999999999999999999D', 'p1d']) {
    t.throws(
      () => readConfig({ DELETE_AFTER: value }),
      { constructor: ConfigError, message: /^DELETE_AFTER is/ },
      value,
    )
  }
})

t.test('refuses a cold store that overlaps with the object store', async (t) => {
  const files = { OBJECT_STORE_URL: 'file:///srv/objects', ARCHIVE_AFTER: 'P90D' }
  t.equal(
    readConfig({ ...files, COLD_STORE_URL: 'file:///srv/objects-cold' }).regions[0]?.cold?.href,
    'file:///srv/objects-cold',
  )
  for (const cold of [
    'file:///srv/objects',
    'file:///srv/objects/',
    'file:///srv/objects/cold',
    'file:///srv',
    'file:///srv/../srv/objects?a=b',
  ]) {
    t.throws(
      () => readConfig({ ...files, COLD_STORE_URL: cold }),
      { constructor: ConfigError, message: /COLD_STORE_URL/ },
      cold,
    )
  }
  const bucket = { OBJECT_STORE_URL: 's3://images/hot?endpoint=https://a.example' }
  for (const cold of [
    's3://images/cold?storageClass=GLACIER_IR',
    's3://images/hot?endpoint=https://b.example',
  ])
    t.equal(readConfig({ ...bucket, COLD_STORE_URL: cold }).regions[0]?.cold?.href, cold)
  for (const cold of ['s3://images', 's3://images/hot/?storageClass=GLACIER_IR', 's3://images/hot/cold']) {
    const COLD_STORE_URL = new URL(cold)
    COLD_STORE_URL.searchParams.set('endpoint', 'https://a.example')
    t.throws(
      () => readConfig({ ...bucket, COLD_STORE_URL: COLD_STORE_URL.href }),
      { constructor: ConfigError, message: /COLD_STORE_URL/ },
      cold,
    )
  }
  t.throws(() => readConfig(files), {
    constructor: ConfigError,
    message: /ARCHIVE_AFTER .* COLD_STORE_URL is not/,
  })
})

t.test('reads regions, and refuses regions whose names are equal or whose stores overlap', async (t) => {
  const urls = 'eu=s3://images/eu?region=eu-central-1,us=file:///srv/us'
  t.match(
    readConfig({ OBJECT_STORE_URLS: urls, COLD_STORE_URLS: 'us=file:///srv/us-cold' }).regions.map(
      ({ name, hot, cold }) => [name, hot.href, cold?.href],
    ),
    [
      ['eu', 's3://images/eu?region=eu-central-1', undefined],
      ['us', 'file:///srv/us', 'file:///srv/us-cold'],
    ],
  )
  t.strictSame(
    readConfig({ OBJECT_STORE_URLS: urls, OBJECT_STORE_URL: 'file:///srv/first' }).regions.map(
      ({ name }) => name,
    ),
    ['', 'eu', 'us'],
    'the first region is the one of OBJECT_STORE_URL',
  )
  for (const [env, message] of [
    [{ OBJECT_STORE_URLS: 'eu' }, /^OBJECT_STORE_URLS is/],
    [{ OBJECT_STORE_URLS: 'EU=file:///a' }, /^OBJECT_STORE_URLS is/],
    [{ OBJECT_STORE_URLS: 'eu=/a' }, /^OBJECT_STORE_URLS is/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a,' }, /^OBJECT_STORE_URLS is/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a,eu=file:///b' }, /^OBJECT_STORE_URLS is/],
    [{ OBJECT_STORE_URLS: 'eu=s3://[' }, /^OBJECT_STORE_URLS is/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a,us=file:///a/b' }, /overlaps/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a', OBJECT_STORE_URL: 'file:///a' }, /overlaps/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a', COLD_STORE_URLS: 'eu=file:///a' }, /^COLD_STORE_URLS .* overlaps/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a', COLD_STORE_URLS: 'us=file:///b' }, /has the region us/],
    [{ COLD_STORE_URLS: 'us=file:///b' }, /has the region us/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a', COLD_STORE_URL: 'file:///b' }, /COLD_STORE_URLS/],
    [{ OBJECT_STORE_URLS: 'eu=file:///a', ARCHIVE_AFTER: 'P1D' }, /ARCHIVE_AFTER/],
  ] as const)
    t.throws(() => readConfig(env), { constructor: ConfigError, message }, JSON.stringify(env))
})

t.test('does not show a wrong value that may contain a secret', async (t) => {
  const wrong = {
    DATABASE_URL: ['mysql://u:hunter2@db'],
    QUEUE_URL: [
      'http://u:hunter2@nats:4222',
      'nats://u:hunter2@nats:99999',
      'nats://u:hunter2%ff@nats',
      'nats://u:hunter2@',
      'nats://u:hunter2@nats/stream',
      'nats://u:hunter2@nats,',
      'nats://u:hunter2@nats:4222,other:99999',
    ],
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      t.throws(() => readConfig({ [name]: value }), {
        constructor: ConfigError,
        message: /is \(not shown\)(?!.*hunter2)/,
      })
    }
  }
})

const hrefs = (value: string) => readConfig({ QUEUE_URL: value }).queueUrls?.map(({ href }) => href)

t.test('accepts a queue URL with a user and password, with a token, and with several servers', async (t) => {
  t.equal(readConfig({}).queueUrls, undefined)
  for (const value of [
    'nats://nats:4222',
    'tls://u:p%40ss@nats',
    'nats://token@10.0.0.1',
    'nats://[::1]:4222/',
  ]) {
    t.strictSame(hrefs(value), [value])
  }
  t.strictSame(hrefs('tls://u:p%40ss@one:4222,two,[::1]:4223'), [
    'tls://u:p%40ss@one:4222',
    'tls://u:p%40ss@two',
    'tls://u:p%40ss@[::1]:4223',
  ])
})

t.test('refuses a key for variants that also opens private images', async (t) => {
  const [one, two] = ['11'.repeat(32), '22'.repeat(32)]
  readConfig({ VARIANT_KEY: one, SIGNING_KEY: two })
  for (const [VARIANT_KEY, SIGNING_KEY] of [
    [one, one],
    [`${two},${one}`, one],
    [one.toUpperCase(), `${two},${one}`],
    ['ab'.repeat(32), 'AB'.repeat(32)],
  ])
    t.throws(
      () => readConfig({ VARIANT_KEY, SIGNING_KEY }),
      /VARIANT_KEY and SIGNING_KEY have a key in common/,
    )
})

t.test('.env.example lists every variable with its default', async (t) => {
  const example = readFileSync(new URL('../.env.example', import.meta.url), 'utf8')
  const set = parseEnv(example)
  const named = [...example.matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name)
  t.strictSame(named.sort(), Object.keys(Environment.properties).sort())
  t.strictSame(readConfig(set), readConfig({}))
  for (const [name, schema] of Object.entries(Environment.properties)) {
    const { default: standard } = schema as { default?: unknown }
    t.equal(set[name], standard === undefined ? undefined : String(standard), name)
  }
})

t.test('the README lists every variable', async (t) => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  for (const name of Object.keys(Environment.properties)) t.ok(readme.includes(`\`${name}\``), name)
})
