import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { admin } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { freePort } from '../helpers/ports.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { type Kind, missing, type ProxyName, startProxy } from '../helpers/proxies.ts'
import { type Server, startServer } from '../helpers/server.ts'

const postgres = startPostgres(t)
// `npm run test:campaign -- test/faults/restarts.campaign.test.ts --test-arg=200` makes 200 restarts.
const RESTARTS = Number(process.argv.slice(2).find((argument) => /^\d+$/.test(argument)) ?? 10)
const REQUESTS = 200 * RESTARTS
const TIMEOUT = Math.max(600_000, 20_000 * RESTARTS)

t.setTimeout(TIMEOUT)
// The servers wait for most of the time, so both proxies are tested at the same time.
t.jobs = 2

for (const kind of ['nginx, shipped', 'haproxy'] as Kind[]) {
  const skip = missing(kind.split(',')[0] as ProxyName) || postgres.missing
  t.test(
    `${kind}: no request fails during ${RESTARTS} restarts of two processes`,
    { skip, timeout: TIMEOUT, buffered: true },
    async (t) => {
      const DATABASE_URL = await postgres.createDatabase()
      const DATA_DIR = t.testdir()
      const ports = [await freePort(), await freePort()]
      const start = (n: number) =>
        startServer(t, {
          DATABASE_URL,
          DATA_DIR,
          PORT: String(ports[n]),
          STOP_DELAY: 'PT3S', // HAProxy notices it after three checks
          WORKER_PROCESSES: '0',
        })
      const servers: Server[] = [await start(0), await start(1)]
      const port = await startProxy(t, kind, ports)
      const base = `http://127.0.0.1:${kind === 'haproxy' ? port + 1 : port}`
      const made = await fetch(`${base}/admin/ephemeral-links`, {
        method: 'POST',
        headers: { ...admin, 'content-type': 'application/json' },
        body: '{"sinceNow":"PT1H"}',
      })
      const link = base + ((await made.json()) as { relativePath: string }).relativePath

      const image = (await makeImage()) as Uint8Array<ArrayBuffer>
      const failures: string[] = []
      let sent = 0
      let isDone = false
      const client = async () => {
        while (!isDone || sent < REQUESTS) {
          sent++
          const form = new FormData()
          form.append('image', new Blob([image, randomBytes(16)]), 'image.png')
          const answer = await fetch(link, { method: 'POST', body: form }).catch((error) => error as Error)
          if (answer instanceof Error) {
            failures.push(String(answer.cause ?? answer))
          } else {
            await answer.text()
            if (answer.status !== 200) failures.push(String(answer.status))
          }
          await sleep(100)
        }
      }
      const clients = Array.from({ length: 4 }, client)
      for (let restart = 0; restart < RESTARTS; restart++) {
        const n = restart % 2
        t.equal(await servers[n]!.end('SIGTERM'), 0, `restart ${restart}`)
        servers[n] = await start(n)
        await sleep(1_000) // until HAProxy's next check
      }
      isDone = true
      await Promise.all(clients)
      t.ok(sent >= REQUESTS, `${sent} requests`)
      t.strictSame(failures, [], `${failures.length} of ${sent} requests failed`)
    },
  )
}
