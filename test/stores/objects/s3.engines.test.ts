import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  CreateMultipartUploadCommand,
  GetBucketLifecycleConfigurationCommand,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { createS3Store } from '../../../stores/objects/s3/index.ts'
import { createMemoryBudget, PART_BYTES } from '../../../stores/objects/s3/memory.ts'
import { dataDirWithDatabase } from '../../helpers/embedded.ts'
import { startFaultyProxy } from '../../helpers/faulty-proxy.ts'
import { type S3, startS3, withoutS3 } from '../../helpers/s3.ts'
import { appendContract } from './append-contract.ts'
import { chunks, contract, keys } from './object-store-contract.ts'

const MIB = 2 ** 20
const MIGRATE = fileURLToPath(new URL('../../../migrate.ts', import.meta.url))

t.test('S3', { skip: withoutS3() }, async (t) => {
  const s3 = await startS3(t)

  await t.test('a bucket with short objects meets the contract', async (t) => {
    const bucket = await s3.createBucket('short')
    await contract(t, await createS3Store(s3.url(bucket)))
  })

  await t.test('a prefix with long objects meets the contract', async (t) => {
    const bucket = await s3.createBucket('long')
    const url = s3.url(bucket)
    url.pathname = '/some where/here/'
    await contract(t, await createS3Store(url), 2 * PART_BYTES + 3_000_000)
    t.strictSame(await s3.openUploads(bucket), [])
  })

  for (const [about, size] of [
    ['less than a part', 1_000_000],
    ['exactly two parts', 2 * PART_BYTES],
    ['several parts and a rest', 4 * PART_BYTES + 12_345],
  ] as const) {
    await t.test(`a bucket appends ${about}`, async (t) => {
      const bucket = await s3.createBucket(`append-${size}`)
      await appendContract(t, await createS3Store(s3.url(bucket)), size)
      t.strictSame(await s3.openUploads(bucket), [])
      t.strictSame(await s3.keys(bucket), [])
    })
  }

  await t.test('objects of exactly one part, and of one byte more, are complete', async (t) => {
    const bucket = await s3.createBucket('exact')
    const proxy = await startFaultyProxy(t, s3.endpoint)
    const store = await createS3Store(s3.url(bucket, { through: proxy.url }))
    for (const [size, parts] of [
      [PART_BYTES - 1, 0],
      [PART_BYTES, 0],
      [PART_BYTES + 1, 2],
      [4 * PART_BYTES, 4],
    ] as const) {
      proxy.fail(() => undefined)
      const { bytes, source } = chunks(size)
      await (await store.stage('exact', source)).commit()
      t.ok(bytes.equals(await buffer(await store.get('exact'))), `${size} bytes`)
      t.equal(proxy.seen.filter((request) => request.includes('partNumber=')).length, parts, `${parts} parts`)
    }
  })

  await t.test('chunks that are longer than several parts, and chunks of one byte, are stored', async (t) => {
    const store = await createS3Store(s3.url(await s3.createBucket('chunks')))
    const bytes = randomBytes(3 * PART_BYTES + 5)
    await (await store.stage('one', Readable.from([bytes]))).commit()
    t.ok(bytes.equals(await buffer(await store.get('one'))))
    const few = bytes.subarray(0, 20_000)
    await (
      await store.stage('bytes', Readable.from(Array.from(few, (_, i) => few.subarray(i, i + 1))))
    ).commit()
    t.ok(few.equals(await buffer(await store.get('bytes'))))
  })

  await t.test('a short object that is discarded is not sent to the server', async (t) => {
    const proxy = await startFaultyProxy(t, s3.endpoint)
    const store = await createS3Store(s3.url(await s3.createBucket('unsent'), { through: proxy.url }))
    await (await store.stage('unsent', chunks(5_000_000).source)).discard()
    t.strictSame(proxy.seen, [])
  })

  await t.test('an object is written in the storage class of the URL', async (t) => {
    const bucket = await s3.createBucket('classes')
    const parameters = 'storageClass=STANDARD'
    const store = await createS3Store(s3.url(bucket, { parameters }))
    const cold = await createS3Store(s3.url(bucket, { parameters: 'storageClass=NOSUCHCLASS' }))
    for (const size of [1000, PART_BYTES + 1]) {
      await (await store.stage('standard', chunks(size).source)).commit()
      await t.rejects(
        cold.stage('cold', chunks(size).source).then((staged) => staged.commit()),
        { name: 'InvalidArgument' },
        'the server has received the class and refused it',
      )
    }
    t.strictSame(await keys(store), ['standard'])
  })

  await t.test('listings with many pages are complete and have no foreign objects', async (t) => {
    const bucket = await s3.createBucket('pages')
    const url = s3.url(bucket)
    url.pathname = '/ours'
    const store = await createS3Store(url)
    const names = Array.from({ length: 25 }, (_, i) => `object${String(i).padStart(2, '0')}`)
    for (const name of names) await (await store.stage(name, chunks(10).source)).commit()
    for (const Key of ['theirs', 'oursnot', 'ours/sub/folder', 'ours/read.me', 'ours/']) {
      await s3.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'x' }))
    }
    for (const Key of ['theirs', 'ours/sub/folder']) {
      await s3.client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }))
    }
    t.strictSame(await keys(store), names)
  })

  await t.test(
    'an upload that a killed process left is listed with its size and can be deleted',
    async (t) => {
      const bucket = await s3.createBucket('killed')
      const url = s3.url(bucket)
      const child = inChild(LEAVE, url)
      await once(child.stdout, 'data')
      child.kill('SIGKILL')
      await once(child, 'exit')

      const store = await createS3Store(url)
      const left = await Array.fromAsync(store.list())
      t.match(left, [{ key: /^incoming\/left\/./, size: 2 * PART_BYTES + 5 }])
      t.ok(Math.abs(Date.now() - left[0]!.modifiedAt.getTime()) < 60_000)
      await t.rejects(store.get('left'), { name: 'ObjectNotFound' })
      await store.delete(left[0]!.key)
      await store.delete(left[0]!.key)
      t.strictSame(await keys(store), [])
      t.strictSame(await s3.openUploads(bucket), [])
    },
  )

  await t.test('a full store is StoreFull, and nothing is left behind', async (t) => {
    const bucket = await s3.createBucket('full')
    const store = await createS3Store(s3.url(bucket))
    await s3.admin('quota', 'set', '--quota-scope=bucket', `--bucket=${bucket}`, `--max-size=${MIB}`)
    await s3.admin('quota', 'enable', '--quota-scope=bucket', `--bucket=${bucket}`)
    const staged = await store.stage('full', chunks(2 * MIB).source)
    await t.rejects(staged.commit(), { name: 'StoreFull', cause: { name: 'QuotaExceeded' } })
    await t.rejects(store.stage('full', chunks(3 * PART_BYTES).source), { name: 'StoreFull' })
    t.strictSame(await keys(store), [])
  })

  await t.test('each call fails if the bucket does not exist', async (t) => {
    const store = await createS3Store(s3.url('nowhere'))
    const missing = { name: 'StoreUnavailable', message: /^The object store has no such bucket/ }
    await t.rejects(store.ping(), missing)
    await t.rejects(store.get('any'), missing)
    await t.rejects(store.stage('any', chunks(PART_BYTES + 1).source), missing)
    await t.rejects(store.setUp(DAY), missing)
    await t.rejects(store.check(), { message: /can't write an object in it.*no such bucket/ })
  })

  await t.test('the check at the start leaves nothing in the bucket', async (t) => {
    const bucket = await s3.createBucket('checked')
    const store = await createS3Store(s3.url(bucket))
    await store.check()
    t.strictSame(await s3.keys(bucket), [])
    t.strictSame(await s3.openUploads(bucket), [])
  })

  await t.test('a server that does not implement checksums is reported, and can be used', async (t) => {
    const bucket = await s3.createBucket('checksums')
    const proxy = await startFaultyProxy(t, s3.endpoint)
    // As older gateways and some versions of R2, GCS and B2 do.
    proxy.fail(({ headers }) =>
      Object.keys(headers).some((name) => /^x-amz-(sdk-checksum|checksum|trailer)/.test(name))
        ? { status: 501, body: '<Error><Code>NotImplemented</Code></Error>' }
        : undefined,
    )
    const withChecksums = await createS3Store(s3.url(bucket, { through: proxy.url }))
    await t.rejects(withChecksums.check(), {
      message:
        /checksums can't be used: the service can't write an object.*NotImplemented.*add checksums=when-required/,
    })
    const store = await createS3Store(
      s3.url(bucket, { through: proxy.url, parameters: 'checksums=when-required' }),
    )
    await store.check()
    for (const size of [1_000, PART_BYTES + 1]) {
      const { bytes, source } = chunks(size)
      await (await store.stage('any', source)).commit()
      t.ok(bytes.equals(await buffer(await store.get('any'))), `${size} bytes`)
    }
  })

  await t.test('each refusal is reported in its own words', async (t) => {
    const proxy = await startFaultyProxy(t, s3.endpoint)
    const store = await createS3Store(s3.url(await s3.createBucket('refused'), { through: proxy.url }))
    for (const [status, code, message] of [
      [403, 'AccessDenied', 'The object store refuses access (AccessDenied).'],
      [403, 'InvalidAccessKeyId', 'The object store does not know the access key (InvalidAccessKeyId).'],
      [403, 'SignatureDoesNotMatch', 'The object store refuses the secret key (SignatureDoesNotMatch).'],
      [404, 'NoSuchBucket', 'The object store has no such bucket (NoSuchBucket).'],
    ] as const) {
      proxy.fail(() => ({ status, body: `<Error><Code>${code}</Code></Error>` }))
      await t.rejects(store.get('any'), { name: 'StoreUnavailable', message })
      await t.rejects(store.check(), { name: 'Error', message: new RegExp(code) })
    }
    proxy.fail(() => 403)
    await t.rejects(store.ping(), { name: 'StoreUnavailable', message: /refuses access/ })
  })

  await t.test('stalled uploads keep little memory, and do not delay others', async (t) => {
    const memory = createMemoryBudget({ receiving: 16 * MIB, sending: 24 * MIB })
    const store = await createS3Store(s3.url(await s3.createBucket('stalled')), { memory })
    const stalled = Array.from({ length: 20 }, () => {
      const source = new Readable({ read() {} })
      for (let n = 0; n < 64; n++) source.push(Buffer.alloc(65_536))
      const staging = store.stage('stalled', source)
      staging.catch(() => {})
      return { source, staging }
    })
    await sleep(300)
    t.ok(memory.reserved <= 16 * MIB, `${memory.reserved / MIB} MiB for 80 MiB`)

    for (const size of [1_000_000, PART_BYTES, 5 * PART_BYTES + 3]) {
      const { bytes, source } = chunks(size)
      await (await store.stage('quick', source)).commit()
      t.ok(bytes.equals(await buffer(await store.get('quick'))), `${size} bytes`)
    }
    for (const { source, staging } of stalled) {
      source.destroy(new Error('gone'))
      await t.rejects(staging, { message: 'gone' })
    }
    t.equal(memory.reserved, 0)
    t.strictSame(await keys(store), ['quick'])
  })

  await t.test('the memory of an upload is bounded for any length', async (t) => {
    const bucket = await s3.createBucket('memory')
    const child = inChild(STAGE_ZEROS, s3.url(bucket))
    const [answer] = await once(child.stdout, 'data')
    const { size, growth } = JSON.parse(answer)
    t.equal(size, 256 * MIB)
    t.ok(growth > 0 && growth < 100 * MIB, `${Math.round(growth / MIB)} MiB`)
  })

  await t.test('the lifecycle rule', (t) => lifecycle(t, s3))
})

/** Runs `script` as a process of its own with a `store` on `url`. */
function inChild(script: string, url: URL) {
  const module = new URL('../../../stores/objects/s3/index.ts', import.meta.url)
  const open = `
    import { Readable } from 'node:stream'
    import { createS3Store } from '${module}'
    const store = await createS3Store(new URL(process.argv[1]))`
  return spawn(process.execPath, ['--input-type=module', '-e', open + script, url.href], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

/** Stages an upload that it never commits. */
const LEAVE = `
  await store.stage('left', Readable.from([Buffer.alloc(${2 * PART_BYTES + 5})]))
  console.log('staged')
  setInterval(() => {}, 1000)`

/** Stages and commits 256 MiB; prints the size and how much the process has grown meanwhile, in bytes. */
const STAGE_ZEROS = `
  await (await store.stage('warmup', Readable.from([Buffer.alloc(10)]))).commit()
  const before = process.memoryUsage.rss()
  let peak = before
  setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()) }, 5).unref()
  const zeros = Buffer.alloc(65_536)
  let left = 256 * 2 ** 20
  const source = new Readable({
    read() {
      this.push(left > 0 ? zeros : null)
      left -= zeros.length
    },
  })
  await (await store.stage('zeros', source)).commit()
  console.log(JSON.stringify({ size: await store.size('zeros'), growth: peak - before }))`

const DAY = 86_400_000

async function lifecycle(t: Test, s3: S3) {
  const rules = async (Bucket: string) =>
    (await s3.client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))).Rules!

  await t.test('is added once for each prefix', async (t) => {
    const bucket = await s3.createBucket('rules')
    const url = s3.url(bucket)
    for (const prefix of ['/one', '/two']) {
      url.pathname = prefix
      const store = await createS3Store(url)
      t.match(await store.setUp(DAY), /^A lifecycle rule was added: /)
      t.match(await store.setUp(DAY), /^A lifecycle rule exists already: /)
    }
    const wished = (Prefix: string) => ({
      Status: 'Enabled',
      Filter: { Prefix },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
    })
    t.match(await rules(bucket), [wished('one/'), wished('two/')])
  })

  await t.test('aborts no upload that can still be continued', async (t) => {
    const bucket = await s3.createBucket('longer')
    const store = await createS3Store(s3.url(bucket))
    const days = async () => (await rules(bucket)).map((rule) => rule.AbortIncompleteMultipartUpload)
    await store.setUp(DAY)
    t.match(await store.setUp(2.5 * DAY), /^A lifecycle rule was added: .* 3 days after/)
    t.strictSame(await days(), [{ DaysAfterInitiation: 3 }], 'it replaces the earlier one')
    t.match(await store.setUp(DAY), /exists already/, 'a later rule suffices')
    const theirs = {
      ID: 'theirs',
      Status: 'Enabled',
      Filter: { Prefix: '' },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
    } as const
    await s3.client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: bucket,
        LifecycleConfiguration: { Rules: [theirs] },
      }),
    )
    t.match(await store.setUp(7 * DAY), /rule \(theirs\) aborts uploads that RESUME_WITHIN still allows/)
    t.strictSame(await days(), [{ DaysAfterInitiation: 1 }])
  })

  await t.test('does not change other rules', async (t) => {
    const bucket = await s3.createBucket('theirs')
    const theirs = {
      ID: 'logs',
      Status: 'Enabled',
      Filter: { Prefix: 'logs/' },
      Expiration: { Days: 30 },
    } as const
    await s3.client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: bucket,
        LifecycleConfiguration: { Rules: [theirs] },
      }),
    )
    const before = await rules(bucket)
    t.match(
      await (await createS3Store(s3.url(bucket))).setUp(DAY),
      /No rule was added.*abort multipart uploads under ""/,
    )
    t.strictSame(await rules(bucket), before)
  })

  await t.test('is not added if another rule covers the prefix', async (t) => {
    const bucket = await s3.createBucket('covered')
    const url = s3.url(bucket)
    url.pathname = '/images/new'
    const store = await createS3Store(url)
    for (const [Prefix, Status, said] of [
      ['images/', 'Enabled', /exists already/],
      ['images/', 'Disabled', /No rule was added/],
      ['videos/', 'Enabled', /No rule was added/],
    ] as const) {
      const rule = {
        ID: 'x',
        Status,
        Filter: { Prefix },
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
      }
      await s3.client.send(
        new PutBucketLifecycleConfigurationCommand({
          Bucket: bucket,
          LifecycleConfiguration: { Rules: [rule] },
        }),
      )
      t.match(await store.setUp(DAY), said, `${Prefix} ${Status}`)
    }
  })

  await t.test('is added by npm run migrate', async (t) => {
    const bucket = await s3.createBucket('migrated')
    const { stdout } = await promisify(execFile)(process.execPath, [MIGRATE], {
      env: {
        ...process.env,
        DATA_DIR: await dataDirWithDatabase(t),
        OBJECT_STORE_URL: s3.url(bucket).href,
      },
    })
    t.match(stdout, /A lifecycle rule was added: abort multipart uploads under ."." in bucket migrated/)
    t.equal((await rules(bucket)).length, 1)
  })

  await t.test('is reported if the server does not allow it', async (t) => {
    const proxy = await startFaultyProxy(t, s3.endpoint)
    const store = await createS3Store(s3.url(await s3.createBucket('refusing'), { through: proxy.url }))
    for (const status of [403, 501]) {
      for (const method of ['GET', 'PUT']) {
        proxy.fail((request) => (request.method === method ? status : undefined))
        t.match(await store.setUp(DAY), /^The object store allows no lifecycle rule/, `${method} ${status}`)
      }
    }
    proxy.fail(() => 503)
    await t.rejects(store.setUp(DAY), 'out of order is not refused')
  })
}
