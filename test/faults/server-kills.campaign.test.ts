import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { newFolder } from '../helpers/folder.ts'
import { makePadded } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { post, startServer, until } from '../helpers/server.ts'
import { type Answered, hasNoOrphans, wrongAmong } from './harness.ts'

const CLIENTS = 8
const MIN = 60_000

t.setTimeout(15 * MIN)
t.jobs = 2
const postgres = startPostgres(t)
for (const [name, missing, kills] of [
  ['the embedded database', false, 30],
  ['PostgreSQL', postgres.missing, 70],
] as const) {
  t.test(
    `on ${name}, a server is killed ${kills} times under ${CLIENTS} clients`,
    { skip: missing, timeout: 15 * MIN, buffered: true },
    async (t) => {
      const DATA_DIR = newFolder(t)
      const env: Record<string, string> = { DATA_DIR, WORKER_PROCESSES: '0' }
      if (name === 'PostgreSQL') env.DATABASE_URL = await postgres.createDatabase()
      const answered: Answered = new Map()
      const wrong: string[] = []
      let last: Answered = new Map()

      for (let kill = 0; kill < kills; kill++) {
        const server = await startServer(t, env)
        // In each tenth round, the images of the last round; at the end, all images.
        if (kill % 10 === 0) wrong.push(...(await wrongAmong(server.url, last)))
        const link = await server.makeLink()
        const now: Answered = new Map()
        const uploading = Promise.allSettled(
          Array.from({ length: CLIENTS }, async () => {
            for (;;) {
              const body = await makePadded(randomInt(300_000))
              const { id } = await post(link, body)
              now.set(id, sha256(body))
            }
          }),
        )
        // Every second one is killed at its start, the others under load.
        if (kill % 2) await until(async () => now.size > 0 || undefined, MIN)
        await sleep(randomInt(500))
        await server.end('SIGKILL', { group: true })
        await uploading
        for (const [id, hash] of now) answered.set(id, hash)
        last = now
      }

      const server = await startServer(t, env)
      wrong.push(...(await wrongAmong(server.url, answered)))
      t.strictSame(wrong, [], `${answered.size} images were answered, and each is there and right`)
      t.ok(answered.size > kills, `${answered.size} images were answered`)
      await hasNoOrphans(t, server, env, join(DATA_DIR, 'objects'))
    },
  )
}
