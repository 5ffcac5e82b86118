import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import connect from 'postgres'
import t from 'tap'
import { admin } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makePadded } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { startNats, withoutNats } from '../helpers/nats.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { startS3, withoutS3 } from '../helpers/s3.ts'
import { runToEnd, type Server, send, startServer, startWorker, until } from '../helpers/server.ts'

const UPLOADS = 2000
const CLIENTS = 32
const BYTES = 20_000
const PATIENCE_MS = 120_000

const postgres = startPostgres(t, { own: true })
const missing = [postgres.missing, withoutNats(), withoutS3()].filter(Boolean).join(', ')

/** Runs `work` on each of the items, `CLIENTS` at a time. */
async function forEach<T>(items: Iterable<T>, work: (item: T) => Promise<void>) {
  const waiting = [...items]
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await work(item)
    }),
  )
}

/** A page of the admin's list of images. */
async function listImages({ url }: Server, query: string) {
  const page = await fetch(`${url}/admin/images?${query}`, { headers: admin })
  return (await page.json()) as { items: { id: string; status: string }[]; nextCursor?: string }
}

t.test(
  'three API processes and two workers lose no image while the engines restart',
  { skip: missing || false, timeout: 600_000 },
  async (t) => {
    const begun = performance.now()
    const say = (what: string) => t.comment(`${((performance.now() - begun) / 1000).toFixed(1)} s: ${what}`)
    const [nats, s3] = await Promise.all([startNats(t), startS3(t)])
    const bucket = await s3.createBucket('scale-out')
    const env = {
      DATABASE_URL: await postgres.createDatabase(),
      QUEUE_URL: nats.url.href,
      OBJECT_STORE_URL: s3.url(bucket).href,
      DATA_DIR: newFolder(t),
      WORKER_PROCESSES: '0',
      INLINE_LIMIT: '10KiB', // so that each is analysed by a worker
    }
    const apis = await Promise.all([startServer(t, env), startServer(t, env), startServer(t, env)])
    const workers = [startWorker(t, env), startWorker(t, env)]
    const linkPath = new URL(await apis[0].makeLink()).pathname
    say('all is up')

    const answered = new Map<string, string>()
    const uploaded: Buffer[] = []
    const refusals = new Map<number, number>()
    let uploads = 0
    let again = 0
    let duplicates = 0

    /** Sends it until it is taken in, each time to any of the processes, as by a load balancer. */
    async function upload(body: Buffer) {
      for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(100)) {
        const api = apis[randomInt(apis.length)]!
        // A process that is killed answers nothing.
        const answer = await send(new URL(linkPath, api.url).href, body).catch(() => undefined)
        if (answer?.status === 200) return answer.processed[0]!
        if (answer) refusals.set(answer.status, (refusals.get(answer.status) ?? 0) + 1)
      }
      throw new Error('not taken in')
    }

    async function client() {
      while (uploads < UPLOADS) {
        const known =
          uploads++ % 4 === 3 && uploaded.length > 0 ? uploaded[randomInt(uploaded.length)] : undefined
        const body = known ?? (await makePadded(BYTES))
        const { id, hash, duplicate } = await upload(body)
        if (hash !== sha256(body)) throw new Error('another hash')
        if (known) {
          again++
          if (duplicate) duplicates++
        } else uploaded.push(body)
        answered.set(id, hash)
      }
    }

    const after = (share: number) =>
      until(async () => (uploads > UPLOADS * share ? true : undefined), PATIENCE_MS)
    async function faults() {
      await after(0.2)
      await apis[2].end('SIGKILL')
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
    }
    await Promise.all([faults(), ...Array.from({ length: CLIENTS }, client)])
    say(`${UPLOADS} uploads`)
    t.strictSame(
      [...refusals.keys()].filter((status) => status !== 503),
      [],
      'an outage is a 503',
    )
    t.comment(`${refusals.get(503) ?? 0} were answered 503`)
    t.ok(again > UPLOADS / 5, `${again} were sent again`)
    t.equal(duplicates, again, 'which is found')
    t.equal(answered.size, uploaded.length, 'equal images have one id')

    // The leases of killed workers last another minute. They are over now.
    const sql = connect(env.DATABASE_URL, { max: 1 })
    await sql`update images set due_at = now() where due_at > now()`
    await sql.end()
    await until(async () => {
      const { items } = await listImages(apis[0], 'status=pending&limit=1')
      return items.length === 0 ? true : undefined
    }, PATIENCE_MS)
    say('none is pending')

    for (const [n, api] of apis.entries()) {
      let wrong = 0
      await forEach(answered, async ([id, hash]) => {
        const answer = await fetch(`${api.url}/images/${id}`)
        if (sha256(await answer.bytes()) !== hash) wrong++
      })
      t.equal(wrong, 0, `API ${n} serves every answered image`)
    }
    say('all were read')

    // An unanswered upload may have left an object. The sweep removes it.
    await sleep(1_000)
    t.equal(await runToEnd('sweep.ts', { ...env, SWEEP_GRACE: 'PT1S' }), 0)
    const images = new Map<string, string>()
    for (let cursor: string | undefined = ''; cursor !== undefined; ) {
      const { items, nextCursor } = await listImages(apis[1], `limit=500${cursor && `&cursor=${cursor}`}`)
      for (const { id, status } of items) images.set(id, status)
      cursor = nextCursor
    }
    t.strictSame(
      [...images.values()].filter((status) => status !== 'ready'),
      [],
      'every image is ready',
    )
    t.strictSame(
      [...answered.keys()].filter((id) => !images.has(id)),
      [],
      'every answered one is listed',
    )
    // Beside them are the id of the installation, and the trash.
    const objects = (await s3.keys(bucket)).filter((key) => /^[0-9A-Za-z]{48}$/.test(key))
    t.strictSame(objects.sort(), [...images.keys()].sort(), 'each has one object')
    t.strictSame(await s3.openUploads(bucket), [], 'no upload is open')
    say('the sweep is done')
  },
)
