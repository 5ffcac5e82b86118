import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  CreateBucketCommand,
  ListMultipartUploadsCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3'
import type { Test } from 'tap'
import { freePort } from './ports.ts'

const SCRIPT = fileURLToPath(new URL('start-s3.sh', import.meta.url))

export type S3 = Awaited<ReturnType<typeof startS3>>

/** Why tests with S3 can't run; false where they can. */
export const withoutS3 = () =>
  spawnSync('radosgw', ['--version']).status === 0 ? false : 'S3: radosgw is not installed'

/** Starts an S3 of the test's own, on a free port, and ends it with the test. The SDK's environment is set to its keys. */
export async function startS3(t: Pick<Test, 'teardown'>) {
  const key = 'hasty'
  const secret = 'only-for-tests'
  const { folder, port } = await startAgain(t, { key, secret })

  process.env.AWS_ACCESS_KEY_ID = key
  process.env.AWS_SECRET_ACCESS_KEY = secret
  const endpoint = `http://127.0.0.1:${port}`
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true })
  t.teardown(() => client.destroy())

  return {
    endpoint,
    client,

    /** A URL for `OBJECT_STORE_URL`. */
    url(bucket: string, { through = endpoint, parameters = '' } = {}) {
      return new URL(
        `s3://${bucket}?endpoint=${through}&region=us-east-1&forcePathStyle=true${parameters && `&${parameters}`}`,
      )
    },

    async createBucket(Bucket: string) {
      await client.send(new CreateBucketCommand({ Bucket }))
      return Bucket
    },

    /** The keys of all objects in the bucket. */
    async keys(Bucket: string) {
      const keys: string[] = []
      for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket })) {
        keys.push(...Contents.map(({ Key }) => Key!))
      }
      return keys
    },

    /** The keys of the multipart uploads that are open in the bucket. */
    async openUploads(Bucket: string) {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }))
      return Uploads.map(({ Key }) => Key)
    },

    /** Runs `radosgw-admin`. */
    async admin(...args: string[]) {
      await promisify(execFile)('radosgw-admin', args, {
        env: { ...process.env, CEPH_CONF: join(folder, 'ceph.conf') },
      })
    },
  }
}

/** Starts it, and again with other ports: those that were free may be another's by then. */
async function startAgain(t: Pick<Test, 'teardown'>, keys: { key: string; secret: string }) {
  for (let tried = 1; ; tried++) {
    try {
      return await start(t, keys)
    } catch (error) {
      if (tried === 3) throw error
    }
  }
}

async function start(t: Pick<Test, 'teardown'>, { key, secret }: { key: string; secret: string }) {
  const folder = await mkdtemp(join(tmpdir(), 'hasty-s3-'))
  const [port, monitorPort] = await Promise.all([freePort(), freePort()])
  const script = spawn('bash', [SCRIPT, folder, `${port}`, `${monitorPort}`, key, secret], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let complaints = ''
  script.stderr.on('data', (chunk) => {
    complaints += chunk
  })
  const ended = once(script, 'exit')
  t.teardown(async () => {
    script.stdin.end()
    await ended
  })
  await Promise.race([
    once(createInterface(script.stdout), 'line'),
    ended.then(() => Promise.reject(new Error(`S3 has not started:\n${complaints}`))),
  ])
  script.stdout.resume()
  return { folder, port }
}
