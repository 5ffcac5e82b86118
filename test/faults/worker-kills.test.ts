import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openDataStore } from '../../stores/data/index.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage, makePadded } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { listImages, post, startServer, startWorker, until } from '../helpers/server.ts'
import { inTier, times } from '../helpers/tiers.ts'
import { type Answered, hasNoOrphans, wrongAmong } from './harness.ts'

const KILLS = times(1, 50)
const MIN = 60_000

t.test(
  `the images of a worker that is killed ${KILLS} times are analysed`,
  { timeout: 15 * MIN },
  async (t) => {
    const DATA_DIR = newFolder(t)
    const env = { DATA_DIR, WORKER_PROCESSES: '0', INLINE_LIMIT: '0' }
    const server = await startServer(t, env, { database: 'lent' })
    const link = await server.makeLink()
    const data = await openDataStore({ dataDir: DATA_DIR, databaseUrl: undefined }, { attach: true })
    t.teardown(() => data.close())
    const answered: Answered = new Map()

    for (let kill = 0; kill < KILLS; kill++) {
      const worker = startWorker(t, env)
      for (let n = 0; n < 4; n++) {
        const body = await makePadded(300_000)
        answered.set((await post(link, body)).id, sha256(body))
      }
      await until(async () => (await leased()) > 0 || undefined, 20_000)
      await sleep(randomInt(60))
      await worker.end('SIGKILL')
      // As if the time of its leases had passed; an image that is there at several kills is not to blame.
      await data.sql`update images set due_at = now(), attempts = 0 where due_at is not null`
    }

    const worker = startWorker(t, env)
    await until(async () => (await data.imageLeases.waiting()) === 0 || undefined, 60_000)
    await worker.end('SIGTERM')
    const statuses = new Set((await listImages(server.url)).map(({ status }) => status))
    t.strictSame([...statuses], ['ready'])
    t.strictSame(await wrongAmong(server.url, answered), [])
    await hasNoOrphans(t, server, env, join(DATA_DIR, 'objects'))

    async function leased() {
      const [row] = await data.sql<{ leased: number }[]>`
      select count(*) as leased from images where lease is not null`
      return row!.leased
    }
  },
)

inTier.campaign('an image whose workers die is analysed by the next one', { timeout: MIN }, async (t) => {
  const DATA_DIR = newFolder(t)
  const env = { DATA_DIR, WORKER_PROCESSES: '0', INLINE_LIMIT: '0' }
  const server = await startServer(t, env, { database: 'lent' })
  const data = await openDataStore({ dataDir: DATA_DIR, databaseUrl: undefined }, { attach: true })
  t.teardown(() => data.close())
  const link = await server.makeLink()
  const poison = await post(link, await makeImage('png', { width: 3000, height: 2000 }))

  for (let death = 1; death <= 4; death++) {
    const worker = startWorker(t, env)
    await until(async () => {
      const [row] = await data.sql`select 1 from images where id = ${poison.id} and lease is not null`
      return row
    }, 20_000)
    await worker.end('SIGKILL')
    await data.sql`update images set due_at = now(), lease = null where id = ${poison.id}`
  }

  const others = [await post(link, await makeImage()), await post(link, await makeImage())]
  const worker = startWorker(t, env)
  const statusOf = async ({ id }: { id: string }) => (await data.images.find(id))?.status
  for (const other of others)
    await until(async () => ((await statusOf(other)) === 'ready' ? true : undefined), 20_000)
  await until(async () => ((await statusOf(poison)) === 'ready' ? true : undefined), 20_000)
  await worker.end('SIGTERM')
})
