import { createHash, randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { admin } from './helpers/app.ts'
import { makeImage } from './helpers/images.ts'
import { startNats, withoutNats } from './helpers/nats.ts'
import { startPostgres } from './helpers/postgres.ts'
import { startS3, withoutS3 } from './helpers/s3.ts'
import { post, runToEnd, type Server, startServer, startWorker, until } from './helpers/server.ts'

const UPLOADS = 2000
const CLIENTS = 32
const BYTES = 20_000

const postgres = startPostgres(t)
const missing = [postgres.missing, withoutNats(), withoutS3()].filter(Boolean).join(', ')

t.test(
  'three API processes and two workers lose nothing while what they stand on fails',
  {
    skip: missing || false,
    timeout: 600_000,
  },
  async (t) => {
    const [nats, s3] = await Promise.all([startNats(t), startS3(t)])
    const bucket = await s3.createBucket('scale-out')
    const env = {
      DATABASE_URL: await postgres.createDatabase(),
      QUEUE_URL: nats.url.href,
      OBJECT_STORE_URL: s3.url(bucket).href,
      DATA_DIR: t.testdir(),
      WORKER_PROCESSES: '0',
      INLINE_LIMIT: '10KiB',
      LOG_LEVEL: 'warn',
    }
    const apis: Server[] = []
    for (let n = 0; n < 3; n++) apis.push(await startServer(t, env))
    const workers = [startWorker(t, env), startWorker(t, env)]
    const linkPath = new URL(await apis[0]!.makeLink()).pathname

    const answered = new Map<string, string>()
    const uploaded: Buffer[] = []
    let begun = 0
    let duplicates = 0

    /** Posts until it is answered, each time to another process, as a client behind a load balancer would. */
    async function upload(body: Buffer) {
      for (let tried = 0; tried < 200; tried++) {
        const api = apis[randomInt(apis.length)]!
        const answer = await post(new URL(linkPath, api.url).href, body).catch(() => undefined)
        if (answer) return answer
        await sleep(100)
      }
      throw new Error('not answered in 200 tries')
    }

    async function client() {
      while (begun < UPLOADS) {
        const again = begun++ % 4 === 3 ? uploaded[randomInt(uploaded.length)] : undefined
        const body = again ?? Buffer.concat([await makeImage('png'), randomBytes(BYTES)])
        const { id, hash } = await upload(body)
        if (hash !== createHash('sha256').update(body).digest('hex')) throw new Error('another hash')
        if (again) duplicates++
        else uploaded.push(body)
        answered.set(id, hash)
      }
    }

    const clients = Promise.all(Array.from({ length: CLIENTS }, client))
    const after = (share: number) => until(async () => begun > UPLOADS * share || undefined, 120_000)
    const faults = (async () => {
      await after(0.2)
      await apis[2]!.end('SIGKILL')
      await after(0.35)
      await workers[1]!.end('SIGKILL')
      apis[2] = await startServer(t, env)
      await after(0.5)
      await nats.kill()
      await sleep(500)
      await nats.start()
      await after(0.7)
      await postgres.stop()
      await sleep(500)
      await postgres.restart()
    })()
    const startedAt = performance.now()
    await Promise.all([clients, faults])
    t.comment(`${UPLOADS} uploads in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
    t.ok(duplicates > UPLOADS / 5, `${duplicates} were duplicates`)
    t.equal(answered.size, uploaded.length, 'equal images have one id')

    await until(async () => {
      const pending = await fetch(`${apis[0]!.url}/admin/images?status=pending&limit=1`, { headers: admin })
      return ((await pending.json()) as { items: object[] }).items.length === 0 || undefined
    }, 120_000)

    for (const api of apis) {
      let wrong = 0
      await Promise.all(
        [...answered].map(async ([id, hash]) => {
          const bytes = Buffer.from(await (await fetch(`${api.url}/images/${id}`)).arrayBuffer())
          if (createHash('sha256').update(bytes).digest('hex') !== hash) wrong++
        }),
      )
      t.equal(wrong, 0, `${api.url} serves every answered image`)
    }

    await sleep(1_000)
    t.equal(await runToEnd('sweep.ts', { ...env, SWEEP_GRACE: 'PT1S' }), 0)
    const ids = new Set<string>()
    let cursor = ''
    do {
      const page = await fetch(`${apis[1]!.url}/admin/images?limit=500${cursor}`, { headers: admin })
      const { items, nextCursor } = (await page.json()) as {
        items: { id: string; status: string }[]
        nextCursor?: string
      }
      for (const { id, status } of items) {
        if (status !== 'ready') t.fail(`an image is ${status}`)
        ids.add(id)
      }
      cursor = nextCursor ? `&cursor=${nextCursor}` : ''
    } while (cursor)
    t.strictSame((await s3.keys(bucket)).sort(), [...ids].sort(), 'one object for each image, and no other')
    t.strictSame(await s3.openUploads(bucket), [])
  },
)
